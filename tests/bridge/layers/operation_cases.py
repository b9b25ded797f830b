"""Calls of every function of ``keras.ops`` that is served, as the conformance tests run them.

The parameters of a case name its inputs, which :data:`INPUTS` makes. All cases of a group are
outputs of one model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from keras.src.ops import numpy as numpy_operations

_RNG = np.random.default_rng(0)


def _spd() -> np.ndarray:
    factor = _RNG.normal(size=(2, 3, 3))
    return factor @ np.swapaxes(factor, 1, 2) + 3 * np.eye(3)


def _nan() -> np.ndarray:
    values = _RNG.normal(size=(3, 4))
    values[0, 1] = values[2, 3] = np.nan
    return values


#: Inputs by name, the batch in front: numbers, positive ones, fractions, whole numbers, truth
#: values, matrices, images, …
INPUTS: dict[str, np.ndarray] = {
    "x": _RNG.normal(size=(3, 4)),
    "y": _RNG.normal(size=(3, 4)),
    "p": _RNG.uniform(0.3, 2.0, (3, 4)),
    "u": _RNG.uniform(-0.9, 0.9, (3, 4)),
    "q": _RNG.uniform(0.05, 0.95, (3, 4)),
    "i": _RNG.integers(0, 4, (3, 4)).astype(np.int32),
    "j": _RNG.integers(1, 9, (3, 4)).astype(np.int32),
    "b": _RNG.integers(0, 2, (3, 4)).astype(np.int32),
    "v": _RNG.normal(size=(6,)),
    "s": _RNG.integers(0, 3, (6,)).astype(np.int32),
    "n": _nan(),
    "m": _spd(),
    "r": _RNG.normal(size=(2, 3, 2)),
    "c": _RNG.normal(size=(2, 4, 8)),
    "d": _RNG.normal(size=(2, 4, 8)),
    "image": _RNG.uniform(0.1, 1.0, (2, 8, 6, 3)),
    "other": _RNG.uniform(0.1, 1.0, (2, 8, 6, 3)),
    "turned": _RNG.uniform(0.1, 1.0, (2, 4, 6, 6)),
    "kernel": _RNG.normal(size=(3, 2, 3, 4)),
    "point": _RNG.normal(size=(1, 1, 12, 2)),
    "query": _RNG.normal(size=(2, 4, 4, 3)),
    "key": _RNG.normal(size=(2, 4, 2, 3)),
    "wave": _RNG.normal(size=(2, 40)),
}

_ROW = np.array([0.5, -1.0, 2.0, 0.25], "float32")
Cases = dict[str, list[Callable[..., Any]]]

UNARY: Cases = {
    "numpy.Abs": [lambda x: numpy_operations.Abs()(x), lambda x: ops.abs(x)],
    "numpy.Absolute": [lambda x: ops.absolute(x), lambda i: ops.absolute(i - 2)],
    "numpy.Angle": [lambda p, x: ops.angle(ops.nn.polar(p, x))],
    "numpy.Arccos": [lambda u: ops.arccos(u)],
    "numpy.Arccosh": [lambda p: ops.arccosh(p + 1)],
    "numpy.Arcsin": [lambda u: ops.arcsin(u)],
    "numpy.Arcsinh": [lambda x: ops.arcsinh(x)],
    "numpy.Arctan": [lambda x: ops.arctan(x)],
    "numpy.Arctanh": [lambda u: ops.arctanh(u)],
    "numpy.BitwiseInvert": [lambda i: ops.bitwise_invert(i)],
    "numpy.BitwiseNot": [lambda i: ops.bitwise_not(i)],
    "numpy.Cbrt": [lambda p: ops.cbrt(p), lambda i: ops.cbrt(i + 1)],
    "numpy.Ceil": [lambda x: ops.ceil(x), lambda i: ops.ceil(i)],
    "numpy.Conj": [lambda p, x: ops.imag(numpy_operations.Conj()(ops.nn.polar(p, x)))],
    "numpy.Conjugate": [lambda p, x: ops.imag(ops.conjugate(ops.nn.polar(p, x)))],
    "numpy.Copy": [lambda x: ops.copy(x)],
    "numpy.Cos": [lambda x: ops.cos(x), lambda i: ops.cos(i)],
    "numpy.Cosh": [lambda x: ops.cosh(x)],
    "numpy.Deg2rad": [lambda x: ops.deg2rad(x)],
    "numpy.Exp": [lambda x: ops.exp(x), lambda i: ops.exp(i)],
    "numpy.Exp2": [lambda x: ops.exp2(x)],
    "numpy.Expm1": [lambda x: ops.expm1(x)],
    "numpy.Fabs": [lambda x: ops.fabs(x)],
    "numpy.Floor": [lambda x: ops.floor(x), lambda i: ops.floor(i)],
    "numpy.I0": [lambda x: ops.i0(x)],
    "numpy.Imag": [lambda p, x: ops.imag(ops.nn.polar(p, x))],
    "numpy.Isfinite": [lambda n: ops.isfinite(n)],
    "numpy.Isinf": [lambda n: ops.isinf(n / 0.0)],
    "numpy.Isnan": [lambda n: ops.isnan(n)],
    "numpy.Isneginf": [lambda n: ops.isneginf(n / 0.0)],
    "numpy.Isposinf": [lambda n: ops.isposinf(n / 0.0)],
    "numpy.Isreal": [lambda x: ops.isreal(x)],
    "numpy.Log": [lambda p: ops.log(p), lambda j: ops.log(j)],
    "numpy.Log10": [lambda p: ops.log10(p)],
    "numpy.Log1p": [lambda p: ops.log1p(p)],
    "numpy.Log2": [lambda p: ops.log2(p)],
    "numpy.LogicalNot": [lambda b: ops.logical_not(b), lambda x: ops.logical_not(x > 0)],
    "numpy.NanToNum": [
        lambda n: ops.nan_to_num(n),
        lambda n: ops.nan_to_num(n / 0.0, nan=0.5, posinf=2.0, neginf=-3.0),
    ],
    "numpy.Negative": [lambda x: -x],
    "numpy.Rad2deg": [lambda x: ops.rad2deg(x)],
    "numpy.Real": [lambda p, x: ops.real(ops.nn.polar(p, x))],
    "numpy.Reciprocal": [lambda p: ops.reciprocal(p)],
    "numpy.Round": [lambda x: ops.round(x), lambda x: ops.round(x, 1), lambda i: ops.round(i)],
    "numpy.Sign": [lambda x: ops.sign(x), lambda i: ops.sign(i - 2)],
    "numpy.Signbit": [lambda x: ops.signbit(x)],
    "numpy.Sin": [lambda x: ops.sin(x)],
    "numpy.Sinc": [lambda x: ops.sinc(x)],
    "numpy.Sinh": [lambda x: ops.sinh(x)],
    "numpy.Sqrt": [lambda p: ops.sqrt(p), lambda j: ops.sqrt(j)],
    "numpy.Square": [lambda x: ops.square(x), lambda i: ops.square(i)],
    "numpy.Tan": [lambda u: ops.tan(u)],
    "numpy.Tanh": [lambda x: ops.tanh(x)],
    "numpy.Trunc": [lambda x: ops.trunc(x)],
    "math.Erf": [lambda x: ops.erf(x)],
    "math.Erfc": [lambda x: ops.erfc(x)],
    "math.Erfinv": [lambda u: ops.erfinv(u)],
    "math.Rsqrt": [lambda p: ops.rsqrt(p)],
    "math.ViewAsReal": [lambda p, x: ops.view_as_real(ops.nn.polar(p, x))],
    "core.StopGradient": [lambda x: ops.stop_gradient(x)],
    "core.Cast": [
        lambda x: ops.cast(x, "int32"),
        lambda i: ops.cast(i, "float32"),
        lambda b: ops.cast(b, bool),
    ],
    "core.SaturateCast": [
        lambda x: ops.saturate_cast(300 * x, "uint8"),
        lambda i: ops.saturate_cast(i - 2, "uint8"),
        lambda x: ops.saturate_cast(x, "float32"),
    ],
    "core.ConvertToTensor": [
        lambda x: ops.convert_to_tensor(x),
        lambda i: ops.convert_to_tensor(i, "float32"),
    ],
    "numpy.Array": [lambda x: ops.array(x), lambda i: ops.array(i, "float32")],
}

BINARY: Cases = {
    "numpy.Add": [
        lambda x, y: x + y,
        lambda x: x + _ROW,
        lambda i: i + 1,
        lambda i: i + 0.5,
        lambda x, i: x + i,
    ],
    "numpy.AllClose": [lambda x, y: ops.allclose(x, y), lambda x: ops.allclose(x, x)],
    "numpy.Arctan2": [lambda x, y: ops.arctan2(x, y), lambda i, j: ops.arctan2(i, j)],
    "numpy.BitwiseAnd": [lambda i, j: ops.bitwise_and(i, j)],
    "numpy.BitwiseLeftShift": [lambda i, j: ops.bitwise_left_shift(i, j)],
    "numpy.BitwiseOr": [lambda i, j: ops.bitwise_or(i, j)],
    "numpy.BitwiseRightShift": [lambda i, j: ops.bitwise_right_shift(i, j)],
    "numpy.BitwiseXor": [lambda i, j: ops.bitwise_xor(i, j)],
    "numpy.Clip": [
        lambda x: ops.clip(x, -0.5, 1),
        lambda i: ops.clip(i, 1, 2),
        lambda x: ops.clip(x, -(_ROW**2), 0.3),
    ],
    "numpy.Divide": [
        lambda x, p: ops.divide(x, p),
        lambda x, p: x / p,
        lambda i, j: i / j,
        lambda p: 2 / p,
        lambda x: x / _ROW,
    ],
    "numpy.DivideNoNan": [
        lambda x, i: ops.divide_no_nan(x, ops.cast(i, x.dtype)),
        lambda x, y: ops.divide_no_nan(x, y),
    ],
    "numpy.Equal": [lambda i, j: ops.equal(i, j), lambda i: ops.equal(i, 2)],
    "numpy.FloorDivide": [lambda x, p: x // p, lambda i, j: (i - 2) // j],
    "numpy.Fmax": [lambda n, x: ops.fmax(n, x)],
    "numpy.Fmin": [lambda n, x: ops.fmin(n, x)],
    "numpy.Fmod": [lambda x, p: ops.fmod(x, p), lambda i, j: ops.fmod(i - 2, j)],
    "numpy.Gcd": [lambda i, j: ops.gcd(i, j)],
    "numpy.Greater": [lambda x, y: x > y, lambda i: i > 1],
    "numpy.GreaterEqual": [lambda x, y: x >= y, lambda i: i >= 1.5],
    "numpy.Heaviside": [lambda x, y: ops.heaviside(ops.maximum(x, 0.0), y)],
    "numpy.Hypot": [lambda x, y: ops.hypot(x, y)],
    "numpy.Isclose": [
        lambda x, y: ops.isclose(x, y),
        lambda x: ops.isclose(x, x + 1e-3, atol=0.1),
        lambda n: ops.isclose(n, n, equal_nan=True),
    ],
    "numpy.Lcm": [lambda i, j: ops.lcm(i, j)],
    "numpy.Ldexp": [lambda x, i: ops.ldexp(x, i)],
    "numpy.LeftShift": [lambda i, j: ops.left_shift(i, j)],
    "numpy.Less": [lambda x, y: x < y],
    "numpy.LessEqual": [lambda x, y: x <= y],
    "numpy.Logaddexp": [lambda x, y: ops.logaddexp(x, y)],
    "numpy.Logaddexp2": [lambda x, y: ops.logaddexp2(x, y)],
    "numpy.LogicalAnd": [lambda b, i: ops.logical_and(b, i)],
    "numpy.LogicalOr": [lambda b, i: ops.logical_or(b, i)],
    "numpy.LogicalXor": [lambda b, i: ops.logical_xor(b, i)],
    "numpy.Maximum": [
        lambda x, y: ops.maximum(x, y),
        lambda i: ops.maximum(i, 2),
        lambda x: ops.maximum(x, _ROW),
    ],
    "numpy.Minimum": [lambda x, y: ops.minimum(x, y), lambda x: ops.minimum(x, 0)],
    "numpy.Mod": [lambda x, p: x % p, lambda i, j: (i - 2) % j],
    "numpy.Multiply": [
        lambda x, y: x * y,
        lambda x: x * _ROW,
        lambda i: i * 2,
        lambda x: 3 * x,
        lambda x, b: x * b,
    ],
    "numpy.Nextafter": [lambda x, y: ops.nextafter(x, y)],
    "numpy.NotEqual": [lambda i, j: ops.not_equal(i, j)],
    "numpy.Power": [lambda p, x: p**x, lambda x: x**2, lambda i: i**2, lambda x: ops.power(2.0, x)],
    "numpy.RightShift": [lambda i, j: ops.right_shift(i, j)],
    "numpy.Subtract": [lambda x, y: x - y, lambda x: 1 - x, lambda x: x - _ROW],
    "numpy.TrueDivide": [lambda x, p: ops.true_divide(x, p), lambda i, j: ops.true_divide(i, j)],
    "numpy.Where": [
        lambda x: ops.where(x > 0, x, 0.1 * x),
        lambda b, x: ops.where(b, x, 0.0),
        lambda b, i, j: ops.where(b, i, j),
    ],
    "numpy.Select": [lambda x, y: ops.select([x > 1, x > 0], [x, y], 0.5)],
}

REDUCTIONS: Cases = {
    "numpy.All": [lambda b: ops.all(b, axis=1), lambda x: ops.all(x > -9)],
    "numpy.Amax": [lambda x: ops.amax(x, axis=1)],
    "numpy.Amin": [lambda x: ops.amin(x, axis=1, keepdims=True)],
    "numpy.Any": [lambda b: ops.any(b, axis=0), lambda x: ops.any(x > 9, axis=(0, 1))],
    "numpy.Argmax": [
        lambda x: ops.argmax(x, axis=1),
        lambda x: ops.argmax(x),
        lambda x: ops.argmax(x, axis=0, keepdims=True),
    ],
    "numpy.Argmin": [lambda x: ops.argmin(x, axis=-1)],
    "numpy.Argsort": [lambda x: ops.argsort(x), lambda x: ops.argsort(x, axis=0)],
    "numpy.Average": [
        lambda x: ops.average(x, axis=1),
        lambda x, p: ops.average(x, axis=1, weights=p),
        lambda i: ops.average(i),
    ],
    "numpy.CountNonzero": [lambda i: ops.count_nonzero(i), lambda i: ops.count_nonzero(i, axis=1)],
    "numpy.Cumprod": [lambda x: ops.cumprod(x, axis=1), lambda i: ops.cumprod(i)],
    "numpy.Cumsum": [
        lambda x: ops.cumsum(x, axis=1),
        lambda x: ops.cumsum(x),
        lambda i: ops.cumsum(i, axis=0, dtype="float32"),
    ],
    "numpy.Max": [
        lambda x: ops.max(x),
        lambda x: ops.max(x, axis=(0, 1), keepdims=True),
        lambda x: ops.max(x, axis=1, initial=0.5),
    ],
    "numpy.Mean": [
        lambda x: ops.mean(x, axis=-1),
        lambda i: ops.mean(i),
        lambda x: ops.mean(x, axis=[0, 1], keepdims=True),
    ],
    "numpy.Median": [lambda x: ops.median(x, axis=1), lambda x: ops.median(x)],
    "numpy.Min": [lambda x: ops.min(x, axis=0), lambda i: ops.min(i, axis=1, initial=1)],
    "numpy.Nanargmax": [lambda n: ops.nanargmax(n, axis=1)],
    "numpy.Nanargmin": [lambda n: ops.nanargmin(n, axis=0)],
    "numpy.Nancumprod": [lambda n: ops.nancumprod(n, axis=1)],
    "numpy.Nancumsum": [lambda n: ops.nancumsum(n, axis=1)],
    "numpy.Nanmax": [lambda n: ops.nanmax(n, axis=1)],
    "numpy.Nanmean": [lambda n: ops.nanmean(n, axis=1)],
    "numpy.Nanmedian": [lambda n: ops.nanmedian(n, axis=1)],
    "numpy.Nanmin": [lambda n: ops.nanmin(n)],
    "numpy.Nanpercentile": [lambda n: ops.nanpercentile(n, 30.0, axis=1)],
    "numpy.Nanprod": [lambda n: ops.nanprod(n, axis=1)],
    "numpy.Nanquantile": [lambda n: ops.nanquantile(n, 0.3, axis=1)],
    "numpy.Nanstd": [lambda n: ops.nanstd(n, axis=1)],
    "numpy.Nansum": [lambda n: ops.nansum(n, axis=1)],
    "numpy.Nanvar": [lambda n: ops.nanvar(n, axis=1)],
    "numpy.Percentile": [
        lambda x: ops.percentile(x, 40.0, axis=1),
        lambda x: ops.percentile(x, 40.0, axis=1, method="nearest"),
    ],
    "numpy.Prod": [lambda x: ops.prod(x, axis=1), lambda i: ops.prod(i, axis=1)],
    "numpy.Ptp": [lambda x: ops.ptp(x, axis=1)],
    "numpy.Quantile": [
        lambda x: ops.quantile(x, 0.4, axis=1),
        lambda x: ops.quantile(x, [0.1, 0.5], axis=1, keepdims=True),
    ],
    "numpy.Sort": [lambda x: ops.sort(x), lambda x: ops.sort(x, axis=0)],
    "numpy.Std": [lambda x: ops.std(x, axis=1, keepdims=True), lambda i: ops.std(i)],
    "numpy.Sum": [
        lambda x: ops.sum(x),
        lambda i: ops.sum(i, axis=1),
        lambda x: ops.sum(x > 0, axis=1),
    ],
    "numpy.Var": [lambda x: ops.var(x, axis=1)],
    "math.InTopK": [lambda s, c: ops.in_top_k(s[:4,], ops.cast(c[0], "float32"), 3)],
    "math.Logsumexp": [lambda x: ops.logsumexp(x, axis=1), lambda x: ops.logsumexp(x)],
    "math.SegmentMax": [lambda v, s: ops.segment_max(v, s, num_segments=3)],
    "math.SegmentMin": [lambda v, s: ops.segment_min(v, s, num_segments=3)],
    "math.SegmentProd": [lambda v, s: ops.segment_prod(v, s, num_segments=4)],
    "math.SegmentSum": [lambda v, s: ops.segment_sum(v, s, num_segments=4)],
    "math.TopK": [lambda x: ops.top_k(x, 2)],
    "nn.Moments": [
        lambda x: ops.moments(x, axes=[1]),
        lambda r: ops.moments(r, axes=[0, 2], keepdims=True),
    ],
}

ARRANGING: Cases = {
    "numpy.Append": [lambda x, y: ops.append(x, y), lambda x, y: ops.append(x, y, axis=1)],
    "numpy.ArraySplit": [lambda x: ops.array_split(x, 3, axis=1)],
    "numpy.BroadcastTo": [lambda x: ops.broadcast_to(x, (2, 3, 4))],
    "numpy.Concatenate": [
        lambda x, y: ops.concatenate([x, y], axis=1),
        lambda x, i: ops.concatenate([x, i], axis=0),
    ],
    "numpy.Diag": [lambda v: ops.diag(v, 1), lambda x: ops.diag(x)],
    "numpy.Diagflat": [lambda x: ops.diagflat(x)],
    "numpy.Diagonal": [
        lambda m: ops.diagonal(m, axis1=1, axis2=2),
        lambda m: ops.diagonal(m, 1, 1, 2),
    ],
    "numpy.Dsplit": [lambda c: ops.dsplit(c, 2)],
    "numpy.Dstack": [lambda x, y: ops.dstack([x, y])],
    "numpy.ExpandDims": [lambda x: ops.expand_dims(x, 1), lambda x: ops.expand_dims(x, (0, -1))],
    "numpy.Flip": [lambda x: ops.flip(x), lambda x: ops.flip(x, axis=1)],
    "numpy.Fliplr": [lambda x: ops.fliplr(x)],
    "numpy.Flipud": [lambda x: ops.flipud(x)],
    "numpy.Full": [],  # a tensor as fill value cannot be described by a configuration
    "numpy.FullLike": [
        lambda x: ops.full_like(x, 2),
        lambda x: ops.full_like(x, 1.5, dtype="int32"),
    ],
    "numpy.Geomspace": [lambda p: ops.geomspace(p, 9.0, num=5)],
    "numpy.GetItem": [
        lambda x: x[:, :2],
        lambda x: x[:, -1],
        lambda x: x[..., 0:1] * x[..., 1:2],
        lambda x: x[:, None],
        lambda x: x[0],
        lambda x: x[:, ::-2],
        lambda c: c[:, 1, ..., 2:],
        lambda c: c[..., None, 1],
    ],
    "numpy.Hsplit": [lambda x: ops.hsplit(x, 2), lambda x: ops.hsplit(x, [1, 3])],
    "numpy.Hstack": [lambda x, y: ops.hstack([x, y])],
    "numpy.Linspace": [
        lambda x, y: ops.linspace(x, y, num=5),
        lambda x: ops.linspace(x, 1.0, num=3, endpoint=False, axis=-1),
    ],
    "numpy.Logspace": [
        lambda x, y: ops.logspace(x, y, num=4),
        lambda x: ops.logspace(x, 1.0, num=3, base=2),
    ],
    "numpy.Meshgrid": [
        lambda v, s: ops.meshgrid(v, v * 2),
        lambda v: ops.meshgrid(v, v, indexing="ij"),
    ],
    "numpy.Moveaxis": [lambda c: ops.moveaxis(c, 1, -1), lambda c: ops.moveaxis(c, [1, 2], [2, 1])],
    "numpy.Ndim": [lambda x: ops.ndim(x)],
    "numpy.OnesLike": [lambda x: ops.ones_like(x), lambda i: ops.ones_like(i, dtype="float32")],
    "numpy.Pad": [
        lambda x: ops.pad(x, [[0, 0], [1, 0]]),
        lambda v: ops.pad(v, 1, constant_values=2.5),
        lambda x: ops.pad(x, ((1, 1), (2, 1)), mode="reflect"),
        lambda x: ops.pad(x, ((0, 0), (2, 1)), mode="symmetric"),
    ],
    "numpy.Ravel": [lambda x: ops.ravel(x)],
    "numpy.Repeat": [
        lambda x: ops.repeat(x, 2, axis=1),
        lambda x: ops.repeat(x, 3),
        lambda x: ops.repeat(x, [1, 2, 0, 3], axis=1),
    ],
    "numpy.Reshape": [
        lambda x: ops.reshape(x, (-1, 2, 2)),
        lambda x: ops.reshape(x, (4, 3)),
        lambda x: ops.reshape(x, [-1]),
    ],
    "numpy.Roll": [
        lambda x: ops.roll(x, 1),
        lambda x: ops.roll(x, -2, axis=1),
        lambda x: ops.roll(x, (1, 2), axis=(0, 1)),
    ],
    "numpy.Rot90": [lambda c: ops.rot90(c), lambda c: ops.rot90(c, k=3, axes=(1, 2))],
    "numpy.Size": [lambda x: ops.size(x)],
    "numpy.Split": [lambda x: ops.split(x, 2, axis=-1), lambda x: ops.split(x, [1, 3], axis=1)[1]],
    "numpy.Squeeze": [
        lambda x: ops.squeeze(ops.expand_dims(x, 1), axis=1),
        lambda x: ops.squeeze(x[:1, :]),
    ],
    "numpy.Stack": [
        lambda x, y: ops.stack([x, y], axis=1),
        lambda x: ops.stack([x, x, x], axis=-1),
    ],
    "numpy.Swapaxes": [lambda c: ops.swapaxes(c, 1, 2)],
    "numpy.Take": [
        lambda x: ops.take(x, [0, 2], axis=1),
        lambda x: ops.take(x, -1, axis=1),
        lambda x, i: ops.take(x, i),
        lambda x: ops.take(x, [[0, 1], [3, 3]], axis=-1),
    ],
    "numpy.TakeAlongAxis": [
        lambda x, i: ops.take_along_axis(x, i, axis=1),
        lambda x: ops.take_along_axis(x, np.array([[0], [1], [-1]]), axis=1),
    ],
    "numpy.Tile": [lambda x: ops.tile(x, [1, 2]), lambda x: ops.tile(x, 2)],
    "numpy.Transpose": [lambda c: ops.transpose(c, (0, 2, 1)), lambda x: ops.transpose(x)],
    "numpy.Tril": [lambda m: ops.tril(m), lambda m: ops.tril(m, 1)],
    "numpy.Triu": [lambda m: ops.triu(m, -1)],
    "numpy.UnravelIndex": [lambda s: ops.unravel_index(s, (2, 3))],
    "numpy.Vsplit": [lambda x: ops.vsplit(x[:2, :], 2)],
    "numpy.Vstack": [lambda x, y: ops.vstack([x, y])],
    "numpy.ZerosLike": [lambda x: ops.zeros_like(x)],
    "core.Scatter": [lambda v, s: ops.scatter(s[:, None], v, (5,))],
    "core.ScatterUpdate": [
        lambda x, v: ops.scatter_update(x, [[0, 1], [2, 3]], v[:2,]),
        lambda x, v: ops.scatter_update(x, np.array([[0, 1], [0, 1]]), v[:2,], reduction="add"),
    ],
    "core.Slice": [lambda x: ops.slice(x, [0, 1], (2, 2))],
    "core.SliceUpdate": [lambda x, y: ops.slice_update(x, [1, 2], y[:2, :2])],
    "core.Unstack": [lambda x: ops.unstack(x, axis=1), lambda x: ops.unstack(x, 3)],
    "einops.Rearrange": [
        lambda c: ops.rearrange(c, "b t (h d) -> b h t d", h=2),
        lambda image: ops.rearrange(image, "b (h p) (w q) c -> b (h w) (p q c)", p=2, q=3),
        lambda c: ops.rearrange(c, "b t d -> d (b t)"),
    ],
}

ALGEBRA: Cases = {
    "numpy.Corrcoef": [lambda x: ops.corrcoef(x)],
    "numpy.Correlate": [
        lambda v: ops.correlate(v, v[:3,]),
        lambda v: ops.correlate(v, v[1:4,], mode="same"),
        lambda v: ops.correlate(v, v, mode="full"),
    ],
    "numpy.Cross": [lambda m: ops.cross(m[0], m[1]), lambda x: ops.cross(x[:, :3], x[:, 1:])],
    "numpy.Diff": [lambda x: ops.diff(x), lambda x: ops.diff(x, n=2, axis=0)],
    "numpy.Digitize": [lambda x: ops.digitize(x, np.array([-1.0, 0.0, 1.0]))],
    "numpy.Dot": [
        lambda x, y: ops.dot(x, ops.transpose(y)),
        lambda v: ops.dot(v, v),
        lambda x: ops.dot(x, _ROW),
    ],
    "numpy.Einsum": [
        lambda x, y: ops.einsum("bi,bj->bij", x, y),
        lambda x: ops.einsum("bi,i->b", x, _ROW),
        lambda i, j: ops.einsum("bi,bi->b", i, j),
    ],
    "numpy.Inner": [lambda x, y: ops.inner(x, y)],
    "numpy.IsIn": [lambda i: ops.isin(i, [1, 3]), lambda i, j: ops.isin(i, j, invert=True)],
    "numpy.Kron": [lambda m: ops.kron(m[0], m[1, :2])],
    "numpy.Matmul": [
        lambda x: ops.matmul(x, np.arange(8, dtype="float32").reshape(4, 2)),
        lambda m, r: m @ r,
        lambda x, v: ops.matmul(x, v[:4,]),
        lambda i, j: ops.matmul(i, ops.transpose(j)),
    ],
    "numpy.Outer": [lambda v, x: ops.outer(v, x)],
    "numpy.SearchSorted": [
        lambda v, x: ops.searchsorted(ops.sort(v), x[0]),
        lambda x: ops.searchsorted(
            np.array([-1.0, 0.0, 1.0], "float32"), ops.cast(x[0], "float32"), side="right"
        ),
    ],
    "numpy.Slogdet": [lambda m: ops.slogdet(m)],
    "numpy.Tensordot": [
        lambda m, r: ops.tensordot(m, r, axes=[[2], [1]]),
        lambda m, x: ops.tensordot(m, x, axes=1),
    ],
    "numpy.Trace": [lambda m: ops.trace(m, axis1=1, axis2=2)],
    "numpy.Trapezoid": [
        lambda x: ops.trapezoid(x),
        lambda x: ops.trapezoid(x, dx=0.5, axis=0),
        lambda x: ops.trapezoid(x, x=[0.0, 1.0, 3.0, 4.0]),
    ],
    "numpy.Vander": [lambda v: ops.vander(v), lambda v: ops.vander(v, N=3, increasing=True)],
    "numpy.Vdot": [lambda x, y: ops.vdot(x, y)],
    "math.CDist": [lambda c, d: ops.cdist(c, d)],
    "math.Logdet": [lambda m: ops.logdet(m)],
    "linalg.Cholesky": [lambda m: ops.cholesky(m), lambda m: ops.cholesky(m, upper=True)],
    "linalg.CholeskyInverse": [
        lambda m: ops.cholesky_inverse(ops.cholesky(m)),
        lambda m: ops.cholesky_inverse(ops.cholesky(m, upper=True), upper=True),
    ],
    "linalg.Det": [lambda m: ops.det(m)],
    "linalg.Inv": [lambda m: ops.inv(m)],
    "linalg.Lstsq": [lambda r: ops.lstsq(r[0], r[1])],
    "linalg.LuFactor": [lambda m: ops.lu_factor(m[0])],
    "linalg.MatrixRank": [lambda m: ops.matrix_rank(m)],
    "linalg.Norm": [
        lambda x: ops.norm(x, axis=1, keepdims=True),
        lambda x: ops.norm(x),
        lambda x: ops.norm(x, ord=1, axis=1),
        lambda x: ops.norm(x, ord=3, axis=0),
        lambda m: ops.norm(m, ord="fro", axis=(1, 2)),
        lambda m: ops.norm(m, ord="nuc", axis=(1, 2)),
        lambda x: ops.norm(x, ord=float("inf"), axis=1),
    ],
    "linalg.Pinv": [lambda r: ops.pinv(r)],
    "linalg.Qr": [lambda r: ops.qr(r), lambda m: ops.qr(m, mode="complete")],
    "linalg.SVD": [lambda m: ops.svd(m, compute_uv=False)],
    "linalg.Solve": [lambda m, r: ops.solve(m, r), lambda m: ops.solve(m[0], m[1])],
    "linalg.SolveTriangular": [
        lambda m, r: ops.solve_triangular(m, r),
        lambda m, r: ops.solve_triangular(m, r, lower=True),
    ],
}

ACTIVATIONS: Cases = {
    "nn.Celu": [lambda x: ops.celu(x), lambda x: ops.celu(x, alpha=0.7)],
    "nn.Elu": [lambda x: ops.elu(x), lambda x: ops.elu(x, alpha=0.7)],
    "nn.Gelu": [lambda x: ops.gelu(x), lambda x: ops.gelu(x, approximate=False)],
    "nn.Glu": [lambda x: ops.glu(x), lambda c: ops.glu(c, axis=1)],
    "nn.HardShrink": [lambda x: ops.hard_shrink(x), lambda x: ops.hard_shrink(x, threshold=0.2)],
    "nn.HardSigmoid": [lambda x: ops.hard_sigmoid(x)],
    "nn.HardSilu": [lambda x: ops.hard_silu(x)],
    "nn.HardTanh": [lambda x: ops.hard_tanh(x)],
    "nn.LeakyRelu": [lambda x: ops.leaky_relu(x), lambda x: ops.leaky_relu(x, negative_slope=0.07)],
    "nn.LogSigmoid": [lambda x: ops.log_sigmoid(x)],
    "nn.LogSoftmax": [lambda x: ops.log_softmax(x), lambda x: ops.log_softmax(x, axis=None)],
    "nn.Relu": [lambda x: ops.relu(x)],
    "nn.Relu6": [lambda x: ops.relu6(4 * x)],
    "nn.Selu": [lambda x: ops.selu(x)],
    "nn.Sigmoid": [lambda x: ops.sigmoid(x)],
    "nn.Silu": [lambda x: ops.silu(x)],
    "nn.SoftShrink": [lambda x: ops.soft_shrink(x), lambda x: ops.soft_shrink(x, threshold=0.2)],
    "nn.Softmax": [
        lambda x: ops.softmax(x),
        lambda x: ops.softmax(x, axis=None),
        lambda x: ops.softmax(x, axis=0),
    ],
    "nn.Softplus": [lambda x: ops.softplus(x)],
    "nn.Softsign": [lambda x: ops.softsign(x)],
    "nn.SparsePlus": [lambda x: ops.sparse_plus(x)],
    "nn.SparseSigmoid": [lambda x: ops.sparse_sigmoid(x)],
    "nn.Sparsemax": [lambda x: ops.sparsemax(x), lambda x: ops.sparsemax(x, axis=0)],
    "nn.Squareplus": [lambda x: ops.squareplus(x), lambda x: ops.squareplus(x, b=0.3)],
    "nn.TanhShrink": [lambda x: ops.tanh_shrink(x)],
    "nn.Threshold": [lambda x: ops.threshold(x, 0.3, -1.5)],
}

NETWORKS: Cases = {
    "nn.BatchNorm": [
        lambda x: ops.batch_normalization(x, x[0], x[1] ** 2, axis=-1),
        lambda c: ops.batch_normalization(
            c, c[0, :, 0], c[0, :, 1] ** 2, axis=1, offset=c[1, :, 0], scale=c[1, :, 1], epsilon=0.1
        ),
    ],
    "nn.BinaryCrossentropy": [
        lambda q, b: ops.binary_crossentropy(ops.cast(b, q.dtype), q),
        lambda x, q: ops.binary_crossentropy(q, x, from_logits=True),
    ],
    "nn.CategoricalCrossentropy": [
        lambda p, q: ops.categorical_crossentropy(q, p),
        lambda x, q: ops.categorical_crossentropy(q, x, from_logits=True, axis=0),
    ],
    "nn.SparseCategoricalCrossentropy": [
        lambda q, i: ops.sparse_categorical_crossentropy(i[:, 0], q),
        lambda x, i: ops.sparse_categorical_crossentropy(i[:, :1], x, from_logits=True),
    ],
    "nn.DotProductAttention": [
        lambda query: ops.dot_product_attention(query, query[:, :3], query[:, 1:]),
        lambda query, key: ops.dot_product_attention(query, key, 2 * key, is_causal=True),
        lambda query: ops.dot_product_attention(
            query, query, query, mask=query[:, :, :1, :1] > 0, bias=query[:1, :1, :, :1], scale=0.3
        ),
    ],
    "nn.LayerNorm": [
        lambda x: ops.layer_normalization(x, gamma=x[0], beta=x[1]),
        lambda c: ops.layer_normalization(c, axis=(1, 2), epsilon=0.1),
        lambda x: ops.layer_normalization(x, gamma=x[0], rms_scaling=True),
    ],
    "nn.MultiHot": [lambda i: ops.multi_hot(i, 5), lambda i: ops.multi_hot(i, 5, dtype="int32")],
    "nn.Normalize": [lambda x: ops.normalize(x), lambda x: ops.normalize(x, axis=0, order=3)],
    "nn.OneHot": [
        lambda i: ops.one_hot(i, 5),
        lambda i: ops.one_hot(i - 1, 3, axis=1, dtype="int32"),
        lambda i: ops.one_hot(i, 4, dtype="bool"),
    ],
    "nn.PSNR": [lambda x, y: ops.psnr(x, y, 2.0)],
    "nn.Polar": [lambda p, x: ops.imag(ops.nn.polar(p, x))],
    "nn.RMSNorm": [
        lambda x: ops.rms_normalization(x, scale=x[0]),
        lambda c: ops.rms_normalization(c, axis=(1, 2), epsilon=0.1),
    ],
    "math.ExtractSequences": [lambda wave: ops.extract_sequences(wave, 6, 4)],
    "math.FFT": [lambda x, y: ops.fft((x, y))],
    "math.FFT2": [lambda c, d: ops.fft2((c, d))],
    "math.IFFT2": [lambda c, d: ops.ifft2((c, d))],
    "math.RFFT": [
        lambda wave: ops.rfft(wave),
        lambda wave: ops.rfft(wave, 16),
        lambda wave: ops.rfft(wave, 50),
    ],
    "math.IRFFT": [
        lambda wave: ops.irfft(ops.rfft(wave)),
        lambda wave: ops.irfft(ops.rfft(wave), 31),
    ],
    "math.STFT": [
        lambda wave: ops.stft(wave, 8, 4, 10),
        lambda wave: ops.stft(wave, 8, 3, 8, window="hamming", center=False),
        lambda wave: ops.stft(wave, 8, 3, 8, window=None),
    ],
    "math.ISTFT": [
        lambda wave: ops.istft(ops.stft(wave, 8, 4, 10), 8, 4, 10),
        lambda wave: ops.istft(
            ops.stft(wave, 8, 3, 8, center=False),
            8,
            3,
            8,
            center=False,
            window="hamming",
            length=30,
        ),
        lambda wave: ops.istft(ops.stft(wave, 8, 4, 8, window=None), 8, 4, 8, window=None),
    ],
}

WINDOWS: Cases = {
    "nn.AdaptiveAveragePool": [lambda image: ops.adaptive_average_pool(image, (3, 4))],
    "nn.AdaptiveMaxPool": [
        lambda turned: ops.adaptive_max_pool(turned, (4, 5), data_format="channels_first")
    ],
    "nn.AveragePool": [
        lambda image: ops.average_pool(image, 2),
        lambda image: ops.average_pool(image, (3, 2), strides=2, padding="same"),
    ],
    "nn.MaxPool": [
        lambda image: ops.max_pool(image, 2),
        lambda c: ops.max_pool(c, 2, strides=1, padding="same", data_format="channels_first"),
    ],
    "nn.Conv": [lambda image, kernel: ops.conv(image, kernel, strides=2, padding="same")],
    "nn.DepthwiseConv": [lambda image, kernel: ops.depthwise_conv(image, kernel, padding="same")],
    "nn.SeparableConv": [
        lambda image, kernel, point: ops.separable_conv(image, kernel, point, strides=2)
    ],
    "nn.DepthToSpace": [
        lambda turned: ops.depth_to_space(turned, 2, data_format="channels_first"),
        lambda query: ops.depth_to_space(ops.concatenate([query, query[..., :1]], -1), 2),
    ],
    "nn.SpaceToDepth": [lambda image: ops.space_to_depth(image, 2)],
    "nn.Fold": [lambda turned: ops.fold(ops.reshape(turned, (2, 16, 9)), (4, 4), 2)],
    "nn.Unfold": [
        lambda turned: ops.unfold(turned, 2),
        lambda turned: ops.unfold(turned, (2, 3), dilation=2, padding=1, stride=2),
    ],
    "image.CropImages": [
        lambda image: ops.image.crop_images(
            image, top_cropping=1, left_cropping=2, target_height=4, target_width=3
        )
    ],
    "image.ExtractPatches": [
        lambda image: ops.image.extract_patches(image, (2, 3)),
        lambda image: ops.image.extract_patches(image, 3, strides=2, padding="same"),
    ],
    "image.GaussianBlur": [
        lambda image: ops.image.gaussian_blur(image),
        lambda image: ops.image.gaussian_blur(image, (5, 3), (0.7, 1.5)),
    ],
    "image.HSVToRGB": [lambda image: ops.image.hsv_to_rgb(image)],
    "image.MapCoordinates": [
        lambda c, x: ops.image.map_coordinates(c[0], ops.stack([2 + x, 4 + 2 * x]), order=1),
        lambda c, x: ops.image.map_coordinates(
            c[0], ops.stack([2 + x, 4 + 2 * x]), order=1, fill_mode="nearest"
        ),
        lambda c, x: ops.image.map_coordinates(
            c[0], ops.stack([2 + 3 * x, 4 + 5 * x]), order=0, fill_mode="wrap"
        ),
        lambda c, x: ops.image.map_coordinates(
            c[0], ops.stack([2 + x, 4 + 2 * x]), order=1, fill_mode="reflect"
        ),
    ],
    "image.PadImages": [
        lambda image: ops.image.pad_images(
            image, top_padding=1, left_padding=2, target_height=12, target_width=9
        )
    ],
    "image.RGBToGrayscale": [
        lambda image: ops.image.rgb_to_grayscale(image),
        lambda turned: ops.image.rgb_to_grayscale(turned[:, :3], data_format="channels_first"),
    ],
    "image.RGBToHSV": [lambda image: ops.image.rgb_to_hsv(image)],
    "image.Resize": [
        lambda image: ops.image.resize(image, (5, 9)),
        lambda image: ops.image.resize(image, (5, 9), interpolation="nearest"),
        lambda image: ops.image.resize(image, (4, 6), crop_to_aspect_ratio=True),
    ],
    "image.SSIM": [lambda image, other: ops.image.ssim(image, other, filter_size=5)],
    "image.ScaleAndTranslate": [
        lambda image: ops.image.scale_and_translate(
            image,
            (2, 5, 7, 3),
            np.array([0.8, 1.3], "float32"),
            np.array([0.2, -0.4], "float32"),
            (1, 2),
            "linear",
        ),
        lambda image: ops.image.scale_and_translate(
            image,
            (2, 5, 7, 3),
            np.array([0.8, 1.3], "float32"),
            np.array([0.2, -0.4], "float32"),
            (1, 2),
            "cubic",
            antialias=False,
        ),
    ],
    "image.SobelEdges": [lambda image: ops.image.sobel_edges(image)],
}

#: Those that Keras 3.15 cannot run on TensorFlow in a graph, by faults of its own; tests with right
#: values are beside them.
WITHOUT_ORACLE = {"math.ViewAsComplex", "nn.ConvTranspose", "numpy.Histogram"}

GROUPS: dict[str, Cases] = {
    "unary": UNARY,
    "binary": BINARY,
    "reductions": REDUCTIONS,
    "arranging": ARRANGING,
    "algebra": ALGEBRA,
    "activations": ACTIVATIONS,
    "networks": NETWORKS,
    "windows": WINDOWS,
}
