"""Normalizations, categories, losses as functions and attention of ``keras.ops.nn``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from bridge._src.description.constants import single
from bridge._src.operations.table import axes_of, dtype_of, function, named
from bridge._src.typing import Axis
from lmjax._src.typing import Array, ArrayLike

#: ``keras.config.epsilon()``, in whose place no model file has another.
EPSILON = 1e-7
#: The least logit, in place of minus infinity (Keras' ``_get_large_negative``).
_MASKED_LOGIT = -0.7 * 3.38953e38

named(
    "nn",
    "abs_ angle",
    {"Polar": lambda size, angle: lax.complex(size * jnp.cos(angle), size * jnp.sin(angle))},
)


def _along(values: ArrayLike, axis: int, rank: int) -> Array:
    """A vector in the shape that lies along one axis of a tensor."""
    return (
        values
        if values is None or axis in (-1, rank - 1)
        else jnp.reshape(values, [-1 if one == axis % rank else 1 for one in range(rank)])
    )


@function("nn.BatchNorm")
def batch_norm(
    x: jax.Array,
    mean: ArrayLike,
    variance: ArrayLike,
    offset: ArrayLike = None,
    scale: ArrayLike = None,
    axis: int = -1,
    epsilon: float = 1e-3,
) -> Array:
    """x with given mean and variance taken out."""
    mean, variance, offset, scale = (
        _along(one, axis, x.ndim) for one in (mean, variance, offset, scale)
    )
    inverse = lax.rsqrt(variance + epsilon)
    inverse = inverse if scale is None else inverse * scale
    return x * inverse + ((0 if offset is None else offset) - mean * inverse)


@function("nn.LayerNorm")
def layer_norm(
    x: jax.Array,
    gamma: ArrayLike = None,
    beta: ArrayLike = None,
    axis: Axis = -1,
    epsilon: float | None = None,
    rms_scaling: bool = False,
) -> jax.Array:
    """x with its own mean and variance taken out."""
    axes = tuple(sorted(one % x.ndim for one in (axis if isinstance(axis, tuple) else (axis,))))
    shape = [size if number in axes else 1 for number, size in enumerate(x.shape)]
    gamma, beta = (None if one is None else jnp.reshape(one, shape) for one in (gamma, beta))
    epsilon = EPSILON if epsilon is None else epsilon
    variance = jnp.var(x, axis=axes, keepdims=True)
    if rms_scaling:
        scaled = x * lax.rsqrt(variance + epsilon)
        return scaled if gamma is None else scaled * gamma
    scaled = (x - jnp.mean(x, axis=axes, keepdims=True)) * lax.rsqrt(variance + epsilon)
    scaled = scaled if gamma is None else scaled * gamma
    return scaled if beta is None else scaled + beta


@function("nn.RMSNorm")
def rms_norm(
    x: jax.Array, scale: ArrayLike = None, axis: Axis = -1, epsilon: float | None = None
) -> jax.Array:
    """x over the root of its mean square."""
    scaled = x * lax.rsqrt(
        jnp.mean(x * x, axis=axes_of(axis), keepdims=True)
        + (EPSILON if epsilon is None else epsilon)
    )
    return scaled if scale is None else scaled * scale


@function("nn.Normalize")
def normalize(
    x: jax.Array, axis: Axis = -1, order: int = 2, epsilon: float | None = None
) -> jax.Array:
    """x over its norm."""
    x, epsilon, axis = jnp.atleast_1d(x), EPSILON if epsilon is None else epsilon, axes_of(axis)
    if order == 2:
        return x * jnp.minimum(lax.rsqrt(jnp.sum(x * x, axis=axis, keepdims=True)), 1 / epsilon)
    return x / jnp.maximum(jnp.linalg.norm(x, order, axis, keepdims=True), epsilon)


@function("nn.OneHot")
def one_hot(
    x: ArrayLike, num_classes: int, axis: int = -1, dtype: DTypeLike | None = None
) -> jax.Array:
    """Indicators of categories."""
    return jax.nn.one_hot(
        jnp.asarray(x).astype(jnp.int32),
        num_classes,
        axis=axis,
        dtype=dtype_of(dtype or "float32", None),
    )


@function("nn.MultiHot")
def multi_hot(
    inputs: ArrayLike, num_classes: int, axis: int = -1, dtype: DTypeLike | None = None
) -> jax.Array:
    """Indicators of all categories along an axis."""
    hot = one_hot(inputs, num_classes, axis, dtype)
    return jnp.max(hot, axis=1 if jnp.ndim(inputs) > 1 else 0)


def _probabilities(output: jax.Array) -> jax.Array:
    return jnp.clip(output, EPSILON, 1 - EPSILON)


@function("nn.BinaryCrossentropy")
def binary_crossentropy(
    target: ArrayLike, output: jax.Array, from_logits: bool = False
) -> jax.Array:
    """−t log p − (1 − t) log(1 − p)."""
    target = jnp.asarray(target, output.dtype)
    likely = _probabilities(output)
    entropy: jax.Array = -(target * jnp.log(likely) + (1 - target) * jnp.log(1 - likely))
    return jax.nn.softplus(output) - target * output if from_logits else entropy


@function("nn.CategoricalCrossentropy")
def categorical_crossentropy(
    target: ArrayLike, output: jax.Array, from_logits: bool = False, axis: int = -1
) -> jax.Array:
    """−Σ t log p."""
    target = jnp.asarray(target, output.dtype)
    if from_logits:
        return -jnp.sum(target * jax.nn.log_softmax(output, axis), axis)
    return -jnp.sum(
        target * jnp.log(_probabilities(output / jnp.sum(output, axis, keepdims=True))), axis
    )


@function("nn.SparseCategoricalCrossentropy", "axis")
def sparse_categorical_crossentropy(
    target: ArrayLike, output: jax.Array, from_logits: bool = False
) -> jax.Array:
    """−log p of the target's category."""
    target = jnp.asarray(target)
    target = target[..., 0] if target.ndim == output.ndim and target.shape[-1] == 1 else target
    logits = output if from_logits else jnp.log(_probabilities(output))
    return -jnp.take_along_axis(
        jax.nn.log_softmax(logits), target.astype(jnp.int32)[..., None], -1
    )[..., 0]


@function("nn.PSNR")
def psnr(x1: jax.Array, x2: jax.Array, max_val: float) -> jax.Array:
    """The ratio of peak signal and noise, in decibels."""
    return 20 * jnp.log10(jnp.asarray(max_val, x1.dtype)) - 10 * jnp.log10(jnp.mean((x1 - x2) ** 2))


@function("nn.DotProductAttention")
def dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: ArrayLike = None,
    mask: ArrayLike = None,
    scale: ArrayLike = None,
    is_causal: bool = False,
) -> jax.Array:
    """Attention of queries (batch, T, heads, size) to keys and values (batch, S, heads or fewer,
    size).
    """
    groups = query.shape[2] // key.shape[2]
    key, value = (jnp.repeat(one, groups, axis=2) for one in (key, value))
    # Keras takes a scale that is given as a number, and the root of the size, in float32.
    scale = (
        single(1.0 / single(key.shape[-1] ** 0.5))
        if scale is None
        else single(scale)
        if isinstance(scale, int | float)
        else scale
    )
    logits = jnp.einsum("BTNH,BSNH->BNTS", query, key) * scale
    logits = logits if bias is None else logits + bias
    if mask is not None:
        logits = jnp.where(mask, logits, _MASKED_LOGIT)
    if is_causal:
        logits = jnp.where(
            jnp.tri(logits.shape[2], logits.shape[3], dtype=bool), logits, _MASKED_LOGIT
        )
    return jnp.einsum("BNTS,BSNH->BTNH", jax.nn.softmax(logits, axis=-1), value)
