"""Functions of TensorFlow that compute: products, norms, activations."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from bridge._src.layers import activations
from bridge._src.operations.table import as_float, axes_of, dtype_of
from bridge._src.operations.tables import TABLE
from bridge._src.operations.tensorflow.symbols import arrays_of, listed, symbols
from bridge._src.typing import Axis
from lmjax._src.typing import Array, ArrayLike


@symbols("math.atan2")
def atan2(y: ArrayLike, x: ArrayLike) -> jax.Array:
    """The angle of (x, y)."""
    return jnp.arctan2(*arrays_of(y, x))


@symbols("math.squared_difference")
def squared_difference(x: ArrayLike, y: ArrayLike) -> jax.Array:
    """(x − y)²."""
    return jnp.square(jnp.subtract(*arrays_of(x, y)))


@symbols("linalg.matmul")
def matmul(
    a: ArrayLike, b: ArrayLike, transpose_a: bool = False, transpose_b: bool = False
) -> jax.Array:
    """The product of matrices, transposed if asked."""
    a, b = arrays_of(a, b)
    left, right = (
        jnp.swapaxes(one, -1, -2) if turned else one
        for one, turned in ((a, transpose_a), (b, transpose_b))
    )
    return jnp.matmul(left, right)


@symbols("tensordot", "linalg.tensordot")
def tensordot(a: ArrayLike, b: ArrayLike, axes: Axis) -> jax.Array:
    """Products summed over axes of both."""
    a, b = arrays_of(a, b)
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
    total: Array = sum(listed(inputs)[1:], start=listed(inputs)[0])
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
    return jnp.add(*arrays_of(value, bias))


@symbols("cast")
def cast(x: ArrayLike, dtype: DTypeLike) -> jax.Array:
    """x in another dtype."""
    array = jnp.asarray(x)
    result: jax.Array = array.astype(dtype_of(dtype, array))
    return result


@symbols("clip_by_value")
def clip_by_value(t: ArrayLike, clip_value_min: Any, clip_value_max: Any) -> jax.Array:
    """t within its limits."""
    return jnp.clip(*arrays_of(t, clip_value_min, clip_value_max))
