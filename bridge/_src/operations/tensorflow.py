"""Functions of TensorFlow in Functional models of Keras 2, by TensorFlow's own names:
``tf.math.multiply``.

Keras 2 puts a TFOpLambda or a SlicingOpLambda into the graph for every one. Arguments have
TensorFlow's names; those that are the same in NumPy come from the table of ``keras.ops``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from bridge._src.layers import activations
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.pieces import joined, parts
from bridge._src.operations.table import Function, as_float, axes_of, dtype_of, whole
from bridge._src.operations.tables import TABLE
from bridge._src.typing import Axis, Sizes
from lmjax._src.typing import Array, ArrayLike, TreeFn

_Function = TypeVar("_Function", bound=TreeFn)

#: The functions by TensorFlow's canonical names, without ``tf.``.
TENSORFLOW: dict[str, Function] = {}

#: One tensor: TensorFlow's names, and the operation of ``keras.ops`` that computes the same.
_UNARY = {
    "numpy.Absolute": "math.abs abs",
    "numpy.Arccos": "math.acos",
    "numpy.Arccosh": "math.acosh",
    "numpy.Arcsin": "math.asin",
    "numpy.Arcsinh": "math.asinh",
    "numpy.Arctan": "math.atan",
    "numpy.Arctanh": "math.atanh",
    "numpy.Ceil": "math.ceil",
    "numpy.Copy": "identity",
    "numpy.Cos": "math.cos",
    "numpy.Cosh": "math.cosh",
    "numpy.Exp": "math.exp",
    "numpy.Expm1": "math.expm1",
    "numpy.Floor": "math.floor",
    "numpy.Isfinite": "math.is_finite",
    "numpy.Isinf": "math.is_inf",
    "numpy.Isnan": "math.is_nan",
    "numpy.Log": "math.log",
    "numpy.Log1p": "math.log1p",
    "numpy.LogicalNot": "math.logical_not",
    "numpy.Negative": "math.negative",
    "numpy.Reciprocal": "math.reciprocal",
    "numpy.Round": "math.round",
    "numpy.Sign": "math.sign",
    "numpy.Sin": "math.sin",
    "numpy.Sinh": "math.sinh",
    "numpy.Sqrt": "math.sqrt",
    "numpy.Square": "math.square",
    "numpy.Tan": "math.tan",
    "numpy.Tanh": "math.tanh nn.tanh",
    "math.Erf": "math.erf",
    "math.Erfc": "math.erfc",
    "math.Erfinv": "math.erfinv",
    "math.Rsqrt": "math.rsqrt",
    "nn.Elu": "nn.elu",
    "nn.LogSigmoid": "math.log_sigmoid",
    "nn.Relu": "nn.relu",
    "nn.Relu6": "nn.relu6",
    "nn.Selu": "nn.selu",
    "nn.Sigmoid": "math.sigmoid nn.sigmoid",
    "nn.Softplus": "math.softplus nn.softplus",
    "nn.Softsign": "nn.softsign",
    "core.StopGradient": "stop_gradient",
}

#: Two tensors, or a tensor and a constant.
_BINARY = {
    "numpy.Add": "math.add __operators__.add",
    "numpy.Divide": "math.divide math.truediv __operators__.truediv",
    "numpy.DivideNoNan": "math.divide_no_nan",
    "numpy.Equal": "math.equal __operators__.eq",
    "numpy.FloorDivide": "math.floordiv __operators__.floordiv compat.v1.floor_div",
    "numpy.Greater": "math.greater",
    "numpy.GreaterEqual": "math.greater_equal",
    "numpy.Less": "math.less",
    "numpy.LessEqual": "math.less_equal",
    "numpy.LogicalAnd": "math.logical_and",
    "numpy.LogicalOr": "math.logical_or",
    "numpy.LogicalXor": "math.logical_xor",
    "numpy.Maximum": "math.maximum",
    "numpy.Minimum": "math.minimum",
    "numpy.Mod": "math.floormod math.mod",
    "numpy.Multiply": "math.multiply",
    "numpy.NotEqual": "math.not_equal __operators__.ne",
    "numpy.Power": "math.pow",
    "numpy.Subtract": "math.subtract",
}

#: Reductions along axes.
_REDUCTIONS = {
    "numpy.All": "math.reduce_all",
    "numpy.Any": "math.reduce_any",
    "numpy.Max": "math.reduce_max",
    "numpy.Mean": "math.reduce_mean",
    "numpy.Min": "math.reduce_min",
    "numpy.Prod": "math.reduce_prod",
    "numpy.Std": "math.reduce_std",
    "numpy.Sum": "math.reduce_sum",
    "numpy.Var": "math.reduce_variance",
    "math.Logsumexp": "math.reduce_logsumexp",
}


def _enter(names: str, call: TreeFn, arguments: str) -> None:
    for name in names.split():
        TENSORFLOW[name] = Function(call, tuple(arguments.split()), by_name=False)


def _arrays(*values: ArrayLike) -> list[ArrayLike]:
    """Tensors and numbers as they are, and lists of numbers, as which Keras 2 writes arrays, in the
    dtype of the first tensor.
    """
    tensors = [value for value in values if isinstance(value, jax.Array)]
    dtype = next(
        (float_dtype(tensor) for tensor in tensors if jnp.issubdtype(tensor.dtype, jnp.floating)),
        jnp.result_type(float),
    )
    arrays = [np.asarray(value) if isinstance(value, list | tuple) else value for value in values]
    return [
        jnp.asarray(array, dtype if array.dtype.kind == "f" else None)
        if isinstance(value, list | tuple)
        else value
        for array, value in zip(arrays, values, strict=True)
    ]


for _table, _arguments in ((_UNARY, "x"), (_BINARY, "x y")):
    for _operation, _names in _table.items():
        _known = TABLE[_operation]
        _first = _known.arguments[: len(_arguments.split())]
        _enter(
            _names,
            lambda *given, known=_known, first=_first: known(
                **dict(zip(first, _arrays(*given), strict=True))
            ),
            _arguments,
        )


def symbols(*names: str) -> Callable[[_Function], _Function]:
    """Decorator: enters a function whose arguments have TensorFlow's names."""

    def enter(call: _Function) -> _Function:
        for name in names:
            TENSORFLOW[name] = Function(call, tuple(inspect.signature(call).parameters))
        return call

    return enter


def _reduction(operation: str, names: str) -> None:
    @symbols(*names.split())
    def reduced(input_tensor: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
        return TABLE[operation](x=input_tensor, axis=axis, keepdims=bool(keepdims))


for _operation, _names in _REDUCTIONS.items():
    _reduction(_operation, _names)


def _listed(values: ArrayLike) -> Sequence[ArrayLike]:
    """Tensors in a list; Keras 2 drops the list around a single one."""
    return values if isinstance(values, list | tuple) else [values]


@symbols("__operators__.getitem", "compat.v1.strided_slice")
def getitem(x: ArrayLike, slice_spec: Any = None) -> Array:
    """x[slice_spec]."""
    return x[tuple(slice_spec) if isinstance(slice_spec, list | tuple) else slice_spec]


@symbols("math.atan2")
def atan2(y: ArrayLike, x: ArrayLike) -> jax.Array:
    """The angle of (x, y)."""
    return jnp.arctan2(*_arrays(y, x))


@symbols("math.squared_difference")
def squared_difference(x: ArrayLike, y: ArrayLike) -> jax.Array:
    """(x − y)²."""
    return jnp.square(jnp.subtract(*_arrays(x, y)))


@symbols("linalg.matmul")
def matmul(
    a: ArrayLike, b: ArrayLike, transpose_a: bool = False, transpose_b: bool = False
) -> jax.Array:
    """The product of matrices, transposed if asked."""
    a, b = _arrays(a, b)
    left, right = (
        jnp.swapaxes(one, -1, -2) if turned else one
        for one, turned in ((a, transpose_a), (b, transpose_b))
    )
    return jnp.matmul(left, right)


@symbols("tensordot", "linalg.tensordot")
def tensordot(a: ArrayLike, b: ArrayLike, axes: Axis) -> jax.Array:
    """Products summed over axes of both."""
    a, b = _arrays(a, b)
    result: jax.Array = TABLE["numpy.Tensordot"](x1=a, x2=b, axes=axes)
    return result


@symbols("linalg.norm", "compat.v1.norm")
def norm(
    tensor: ArrayLike,
    ord: str = "euclidean",  # noqa: A002 - TensorFlow's name
    axis: Axis = None,
    keepdims: bool | None = None,
) -> jax.Array:
    """A norm of vectors; "euclidean" is that of all entries, of matrices as well."""
    if ord != "euclidean":
        raise ValueError(f"ord={ord!r} of tf.norm is not supported; use 'euclidean'")
    return jnp.sqrt(jnp.sum(jnp.square(tensor), axis=axes_of(axis), keepdims=bool(keepdims)))


@symbols("math.l2_normalize", "compat.v1.nn.l2_normalize", "compat.v1.math.l2_normalize")
def l2_normalize(x: ArrayLike, axis: Axis = None, epsilon: float = 1e-12) -> jax.Array:
    """x over its norm."""
    squares = jnp.sum(x * x, axis=axes_of(axis), keepdims=True)
    return jnp.multiply(x, jax.lax.rsqrt(jnp.maximum(squares, epsilon)))


@symbols("math.cumsum")
def cumsum(x: ArrayLike, axis: int = 0) -> jax.Array:
    """Running sums."""
    return jnp.cumsum(x, axis)


@symbols("math.argmax", "compat.v1.argmax")
def argmax(input: ArrayLike, axis: int | None = None) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """The position of the largest number."""
    return jnp.argmax(input, 0 if axis is None else axis)


@symbols("math.add_n", "add_n")
def add_n(inputs: ArrayLike) -> Array:
    """The sum of tensors."""
    total: Array = sum(_listed(inputs)[1:], start=_listed(inputs)[0])
    return total


@symbols("nn.gelu")
def gelu(features: ArrayLike, approximate: bool = False) -> Array:
    """x Φ(x)."""
    return TABLE["nn.Gelu"](x=features, approximate=approximate)


@symbols("nn.leaky_relu")
def leaky_relu(features: ArrayLike, alpha: float = 0.2) -> jax.Array:
    """x where positive, α x elsewhere."""
    return activations.leaky_relu(features, alpha)


@symbols("nn.silu", "nn.swish")
def silu(features: ArrayLike) -> jax.Array:
    """x · sigmoid(x)."""
    return activations.silu(features)


@symbols("nn.softmax")
def softmax(logits: ArrayLike, axis: Axis = -1) -> jax.Array:
    """eˣ over its sum."""
    return jax.nn.softmax(as_float(logits), axis=-1 if axis is None else axis)


@symbols("nn.log_softmax")
def log_softmax(logits: ArrayLike, axis: Axis = -1) -> jax.Array:
    """The logarithm of softmax."""
    return jax.nn.log_softmax(as_float(logits), axis=-1 if axis is None else axis)


@symbols("nn.bias_add", "compat.v1.nn.bias_add")
def bias_add(value: Any, bias: ArrayLike) -> jax.Array:
    """value + bias along the last axis."""
    return jnp.add(*_arrays(value, bias))


@symbols("reshape")
def reshape(tensor: ArrayLike, shape: Sizes) -> jax.Array:
    """In another shape."""
    return jnp.reshape(tensor, whole(shape))


@symbols("transpose", "compat.v1.transpose")
def transpose(a: ArrayLike, perm: Sizes = None, conjugate: bool = False) -> jax.Array:
    """Axes in another order."""
    a = jnp.conj(a) if conjugate else a
    return jnp.transpose(a, None if perm is None else whole(perm))


@symbols("concat")
def concat(values: ArrayLike, axis: int) -> jax.Array:
    """One behind the other."""
    return joined([jnp.asarray(one) for one in _arrays(*_listed(values))], axis)


@symbols("stack")
def stack(values: ArrayLike, axis: int = 0) -> jax.Array:
    """Beside each other along a new axis."""
    parts = [
        np.asarray(one) if isinstance(one, int | np.ndarray | np.integer) else one
        for one in _arrays(*_listed(values))
    ]
    return (np if all(isinstance(one, np.ndarray) for one in parts) else jnp).stack(parts, axis)  # type: ignore[no-any-return]


@symbols("unstack")
def unstack(value: Any, num: Any = None, axis: int = 0) -> tuple[jax.Array, ...]:  # noqa: ARG001 - follows from the shape
    """The parts along an axis, without it."""
    return tuple(jnp.moveaxis(value, axis, 0))


@symbols("split")
def split(value: Any, num_or_size_splits: Sizes, axis: int = 0) -> list[jax.Array]:
    """Equal parts, or parts of these sizes."""
    sizes = whole(num_or_size_splits)
    return parts(
        jnp.asarray(value),
        sizes if isinstance(sizes, int) else np.cumsum(sizes)[:-1].tolist(),
        axis,
    )


@symbols("squeeze", "compat.v1.squeeze")
def squeeze(input: ArrayLike, axis: Axis = None) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """Without axes of length 1."""
    return jnp.squeeze(input, axes_of(axis) or None)


@symbols("expand_dims", "compat.v1.expand_dims")
def expand_dims(input: ArrayLike, axis: int) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """With a new axis of length 1."""
    return jnp.expand_dims(input, axis)


@symbols("tile")
def tile(input: ArrayLike, multiples: Sizes) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """Repeated as a whole."""
    return jnp.tile(input, whole(multiples))


@symbols("repeat")
def repeat(input: ArrayLike, repeats: Sizes, axis: int | None = None) -> Array:  # noqa: A002 - TensorFlow's name
    """Each entry repeated."""
    return TABLE["numpy.Repeat"](x=input, repeats=repeats, axis=axis)


@symbols("reverse")
def reverse(tensor: ArrayLike, axis: Axis) -> jax.Array:
    """Reversed along axes."""
    return jnp.flip(tensor, axes_of(axis))


@symbols("roll")
def roll(input: ArrayLike, shift: Sizes, axis: Axis) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """Shifted along axes."""
    return jnp.roll(input, axes_of(shift), axes_of(axis))


@symbols("gather", "compat.v1.gather")
def gather(
    params: ArrayLike, indices: ArrayLike, axis: int | None = None, batch_dims: int = 0
) -> jax.Array:
    """The entries at positions along an axis."""
    if batch_dims:
        raise ValueError(f"batch_dims={batch_dims} of tf.gather is not supported; use 0")
    return jnp.take(params, jnp.asarray(indices), 0 if axis is None else axis)


@symbols("pad", "compat.v1.pad")
def pad(
    tensor: ArrayLike, paddings: Sizes, mode: str = "CONSTANT", constant_values: ArrayLike = 0
) -> Array:
    """With margins."""
    constant = {"constant_values": constant_values} if mode.lower() == "constant" else {}
    return TABLE["numpy.Pad"](x=tensor, pad_width=paddings, mode=mode.lower(), **constant)


@symbols("where", "compat.v1.where_v2")
def where(condition: ArrayLike, x: ArrayLike = None, y: ArrayLike = None) -> Array:
    """x where the condition holds, else y."""
    x, y = _arrays(x, y)
    return TABLE["numpy.Where"](condition=condition, x1=x, x2=y)


@symbols("cast")
def cast(x: ArrayLike, dtype: DTypeLike) -> jax.Array:
    """x in another dtype."""
    array = jnp.asarray(x)
    result: jax.Array = array.astype(dtype_of(dtype, array))
    return result


@symbols("clip_by_value")
def clip_by_value(t: ArrayLike, clip_value_min: Any, clip_value_max: Any) -> jax.Array:
    """t within its limits."""
    return jnp.clip(*_arrays(t, clip_value_min, clip_value_max))


@symbols("slice")
def slice_of(input_: ArrayLike, begin: Sizes, size: Sizes) -> jax.Array:
    """The part of this size from here on; -1 goes to the end."""
    starts, sizes = whole(begin), whole(size)
    ends = (
        None if count == -1 else start + count for start, count in zip(starts, sizes, strict=True)
    )
    part: jax.Array = input_[tuple(slice(*ends_of) for ends_of in zip(starts, ends, strict=True))]
    return part


@symbols("broadcast_to")
def broadcast_to(input: ArrayLike, shape: Sizes) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """Repeated along axes of length 1."""
    return jnp.broadcast_to(input, whole(shape))


@symbols("shape", "compat.v1.shape")
def shape(input: ArrayLike, out_type: Any = "int32") -> np.ndarray:  # noqa: A002 - TensorFlow's name
    """The shape, which is known when the function is traced."""
    return np.asarray(np.shape(input), str(out_type))


@symbols("zeros_like", "compat.v1.zeros_like")
def zeros_like(input: ArrayLike, dtype: DTypeLike | None = None) -> Array:  # noqa: A002 - TensorFlow's name
    """Zeros in the shape of a tensor."""
    return TABLE["numpy.ZerosLike"](x=input, dtype=dtype)


@symbols("ones_like", "compat.v1.ones_like")
def ones_like(input: ArrayLike, dtype: DTypeLike | None = None) -> Array:  # noqa: A002 - TensorFlow's name
    """Ones in the shape of a tensor."""
    return TABLE["numpy.OnesLike"](x=input, dtype=dtype)


@symbols("one_hot")
def one_hot(
    indices: ArrayLike, depth: int, axis: int = -1, dtype: DTypeLike | None = None
) -> Array:
    """Indicators of categories."""
    return TABLE["nn.OneHot"](x=indices, num_classes=depth, axis=axis, dtype=dtype)
