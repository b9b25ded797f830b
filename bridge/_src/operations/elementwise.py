"""Functions of single numbers, and of pairs of them."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import special
from jax.typing import DTypeLike

from bridge._src.description.constants import single
from bridge._src.operations.table import as_float, dtype_of, function, named
from lmjax._src.typing import ArrayLike, TreeFn

Functions = dict[str, TreeFn]

UNARY: Functions = {
    "Abs": jnp.abs,
    "Absolute": jnp.abs,
    "Angle": jnp.angle,
    "Arccos": jnp.arccos,
    "Arccosh": jnp.arccosh,
    "Arcsin": jnp.arcsin,
    "Arcsinh": jnp.arcsinh,
    "Arctan": jnp.arctan,
    "Arctanh": jnp.arctanh,
    "BitwiseInvert": jnp.bitwise_invert,
    "BitwiseNot": jnp.bitwise_not,
    "Cbrt": jnp.cbrt,
    "Ceil": lambda x: jnp.ceil(as_float(x)),
    "Conj": jnp.conj,
    "Conjugate": jnp.conjugate,
    "Copy": jnp.asarray,
    "Cos": jnp.cos,
    "Cosh": jnp.cosh,
    "Deg2rad": jnp.deg2rad,
    "Exp": jnp.exp,
    "Exp2": jnp.exp2,
    "Expm1": jnp.expm1,
    "Fabs": jnp.fabs,
    "Floor": lambda x: jnp.floor(as_float(x)),
    "I0": jnp.i0,
    "Imag": jnp.imag,
    "Isfinite": jnp.isfinite,
    "Isinf": jnp.isinf,
    "Isnan": jnp.isnan,
    "Isneginf": jnp.isneginf,
    "Isposinf": jnp.isposinf,
    "Isreal": jnp.isreal,
    "Log": jnp.log,
    "Log10": jnp.log10,
    "Log1p": jnp.log1p,
    "Log2": jnp.log2,
    "LogicalNot": jnp.logical_not,
    "Negative": jnp.negative,
    "Rad2deg": jnp.rad2deg,
    "Real": jnp.real,
    "Reciprocal": lambda x: 1 / x,
    "Sign": jnp.sign,
    "Signbit": jnp.signbit,
    "Sin": jnp.sin,
    "Sinc": jnp.sinc,
    "Sinh": jnp.sinh,
    "Sqrt": jnp.sqrt,
    "Square": jnp.square,
    "Tan": jnp.tan,
    "Tanh": jnp.tanh,
    "Trunc": jnp.trunc,
}

#: The logarithm of 2 as TensorFlow rounds it in Keras' logaddexp2.
_LOG2 = single(math.log(2))


def _logaddexp2(x1: jax.Array, x2: jax.Array) -> jax.Array:
    return jnp.logaddexp(x1 * _LOG2, x2 * _LOG2) / _LOG2


def _nextafter(x1: jax.Array, x2: jax.Array) -> jax.Array:
    """The next number from x₁ towards x₂; its derivative is 1, as in TensorFlow, and the sum is
    exact.
    """
    start, towards = lax.stop_gradient(x1), lax.stop_gradient(x2)
    return x1 + (jnp.nextafter(start, towards) - start)


BINARY: Functions = {
    "Add": jnp.add,
    "Arctan2": jnp.arctan2,
    "Divide": jnp.divide,
    "Equal": jnp.equal,
    "FloorDivide": jnp.floor_divide,
    "Fmax": jnp.fmax,
    "Fmin": jnp.fmin,
    "Fmod": jnp.fmod,
    "Gcd": jnp.gcd,
    "Greater": jnp.greater,
    "GreaterEqual": jnp.greater_equal,
    "Heaviside": jnp.heaviside,
    "Hypot": jnp.hypot,
    "Lcm": jnp.lcm,
    "Ldexp": jnp.ldexp,
    "Less": jnp.less,
    "LessEqual": jnp.less_equal,
    "Logaddexp": jnp.logaddexp,
    "Logaddexp2": lambda x1, x2: _logaddexp2(as_float(x1), as_float(x2)),
    "LogicalAnd": jnp.logical_and,
    "LogicalOr": jnp.logical_or,
    "LogicalXor": jnp.logical_xor,
    "Maximum": jnp.maximum,
    "Minimum": jnp.minimum,
    "Mod": jnp.mod,
    "Multiply": jnp.multiply,
    "Nextafter": lambda x1, x2: _nextafter(as_float(x1), as_float(x2)),
    "NotEqual": jnp.not_equal,
    "Power": jnp.power,
    "Subtract": jnp.subtract,
    "TrueDivide": jnp.true_divide,
}

BITWISE: Functions = {
    "BitwiseAnd": jnp.bitwise_and,
    "BitwiseLeftShift": jnp.left_shift,
    "BitwiseOr": jnp.bitwise_or,
    "BitwiseRightShift": jnp.right_shift,
    "BitwiseXor": jnp.bitwise_xor,
    "LeftShift": jnp.left_shift,
    "RightShift": jnp.right_shift,
}

SPECIAL: Functions = {
    "Erf": special.erf,
    "Erfc": special.erfc,
    "Erfinv": special.erfinv,
    "Rsqrt": lambda x: lax.rsqrt(as_float(x)),
    "ViewAsComplex": lambda x: lax.complex(x[..., 0], x[..., 1]),
    "ViewAsReal": lambda x: jnp.stack([jnp.real(x), jnp.imag(x)], axis=-1),
}

named("numpy", "x", UNARY)
named("numpy", "x1 x2", BINARY)
named("numpy", "x y", BITWISE)
named("math", "x", SPECIAL)
named("core", "variable", {"StopGradient": lax.stop_gradient})


@function("numpy.DivideNoNan")
def divide_no_nan(x1: ArrayLike, x2: ArrayLike) -> jax.Array:
    """x₁ / x₂, and 0 where x₂ is 0."""
    zero = jnp.equal(x2, 0)
    return jnp.where(zero, 0, jnp.divide(x1, jnp.where(zero, 1, x2)))


@function("numpy.Clip")
def clip(x: ArrayLike, x_min: ArrayLike, x_max: ArrayLike) -> jax.Array:
    """x within its limits."""
    return jnp.clip(x, x_min, x_max)


@function("numpy.Round")
def round_to(x: ArrayLike, decimals: int = 0) -> jax.Array:
    """x rounded to so many decimals, halves to even numbers."""
    return jnp.round(x, decimals)


@function("numpy.NanToNum")
def nan_to_num(
    x: ArrayLike, nan: ArrayLike = 0.0, posinf: ArrayLike = None, neginf: ArrayLike = None
) -> jax.Array:
    """x with numbers in place of NaN and infinities."""
    return jnp.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


@function("numpy.Isclose")
def isclose(
    x1: ArrayLike,
    x2: ArrayLike,
    rtol: ArrayLike = 1e-5,
    atol: ArrayLike = 1e-8,
    equal_nan: bool = False,
) -> jax.Array:
    """Whether |x₁ − x₂| ≤ atol + rtol |x₂|."""
    return jnp.isclose(x1, x2, rtol, atol, equal_nan)


@function("numpy.AllClose")
def allclose(
    x1: ArrayLike,
    x2: ArrayLike,
    rtol: ArrayLike = 1e-5,
    atol: ArrayLike = 1e-8,
    equal_nan: bool = False,
) -> jax.Array:
    """Whether all numbers are close."""
    return jnp.allclose(x1, x2, rtol, atol, equal_nan)


@function("numpy.Where")
def where(condition: ArrayLike, x1: ArrayLike = None, x2: ArrayLike = None) -> jax.Array:
    """x₁ where the condition holds, else x₂."""
    if x1 is None or x2 is None:
        raise ValueError(
            "where is called without two tensors to choose from: the shape of its result "
            "would depend on values"
        )
    return jnp.where(jnp.asarray(condition).astype(bool), x1, x2)


@function("numpy.Select")
def select(condlist: Any, choicelist: Any, default: ArrayLike = 0) -> jax.Array:
    """The choice of the first condition that holds."""
    return jnp.select(
        [jnp.asarray(one) for one in condlist], [jnp.asarray(one) for one in choicelist], default
    )


@function("core.Cast")
def cast(x: jax.Array, dtype: DTypeLike) -> jax.Array:
    """x in another dtype."""
    return x.astype(dtype_of(dtype, x))


@function("core.ConvertToTensor")
def convert_to_tensor(x: ArrayLike, dtype: DTypeLike | None = None) -> jax.Array:
    """x, in another dtype if one is given."""
    x = jnp.asarray(x)
    result: jax.Array = x if dtype is None else x.astype(dtype_of(dtype, x))
    return result


@function("numpy.Array")
def array(x: ArrayLike, dtype: DTypeLike | None = None) -> jax.Array:
    """x, in another dtype if one is given."""
    return convert_to_tensor(x, dtype)


@function("core.SaturateCast")
def saturate_cast(x: jax.Array, dtype: DTypeLike) -> jax.Array:
    """x in another dtype, cut off at its limits."""
    wanted = dtype_of(dtype, x)
    if not jnp.issubdtype(wanted, jnp.integer):
        return x.astype(wanted)
    limits = jnp.iinfo(wanted)
    return (
        x.astype(wanted)
        if x.dtype == bool
        else lax.convert_element_type(jnp.clip(x, limits.min, limits.max), wanted)
    )
