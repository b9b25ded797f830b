"""The activation functions of ``keras.ops.nn``, with their options."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from bridge._src.description.constants import single
from bridge._src.layers import activations
from bridge._src.layers.pieces import parts
from bridge._src.operations.table import as_float, axes_of, function, named
from bridge._src.typing import Axis

named(
    "nn",
    "x",
    {
        "HardSigmoid": activations.hard_sigmoid,
        "HardSilu": activations.hard_silu,
        "HardTanh": activations.hard_tanh,
        "LogSigmoid": jax.nn.log_sigmoid,
        "Relu": activations.relu,
        "Relu6": activations.relu6,
        "Selu": activations.selu,
        "Sigmoid": jax.nn.sigmoid,
        "Silu": activations.silu,
        "Softplus": activations.softplus,
        "Softsign": activations.softsign,
        "SparsePlus": activations.sparse_plus,
        "SparseSigmoid": activations.sparse_sigmoid,
        "TanhShrink": activations.tanh_shrink,
    },
)

#: √(2/π), and the cubic's coefficient as TensorFlow rounds it, of the approximate gelu (Hendrycks &
#: Gimpel, 2016).
_GELU_SCALE, _GELU_CUBE = (2 / jnp.pi) ** 0.5, single(0.044715)


@function("nn.Gelu")
def gelu(x: jax.Array, approximate: bool = True) -> jax.Array:
    """x Φ(x), approximated by a hyperbolic tangent unless told otherwise."""
    if not approximate:
        return activations.gelu(x)
    return 0.5 * x * (1 + jnp.tanh(_GELU_SCALE * (x + _GELU_CUBE * x**3)))


@function("nn.LeakyRelu")
def leaky_relu(x: jax.Array, negative_slope: float = 0.2) -> jax.Array:
    """x where positive, slope · x elsewhere."""
    return activations.leaky_relu(x, negative_slope)


@function("nn.Elu")
def elu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """x where positive, α (eˣ − 1) elsewhere."""
    return activations.elu(x, alpha)


@function("nn.Celu")
def celu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """max(x, 0) + α (e^(min(x, 0)/α) − 1)."""
    return jax.nn.celu(x, alpha)


@function("nn.Glu")
def glu(x: jax.Array, axis: int = -1) -> jax.Array:
    """a · sigmoid(b), where a and b are the halves of an axis."""
    a, b = parts(x, 2, axis)
    return a * jax.nn.sigmoid(b)


@function("nn.HardShrink")
def hard_shrink(x: jax.Array, threshold: float = 0.5) -> jax.Array:
    """x, and 0 within the threshold of 0."""
    return jnp.where(jnp.abs(x) > threshold, x, jnp.zeros_like(x))


@function("nn.SoftShrink")
def soft_shrink(x: jax.Array, threshold: float = 0.5) -> jax.Array:
    """x moved towards 0 by the threshold, and 0 within it."""
    return jnp.where(
        x > threshold, x - threshold, jnp.where(x < -threshold, x + threshold, jnp.zeros_like(x))
    )


@function("nn.Threshold", threshold_value="threshold", value="default_value")
def threshold_of(x: jax.Array, threshold: float, default_value: float) -> jax.Array:
    """x above the threshold, a value elsewhere."""
    return jnp.where(x > threshold, x, default_value)


@function("nn.Squareplus")
def squareplus(x: jax.Array, b: float = 4) -> jax.Array:
    """(x + √(x² + b)) / 2."""
    return (x + jnp.sqrt(x * x + b)) / 2


@function("nn.Softmax")
def softmax(x: jax.Array, axis: Axis = -1) -> jax.Array:
    """eˣ over its sum along axes, or over everything."""
    return jax.nn.softmax(as_float(x), axis=axes_of(axis))


@function("nn.LogSoftmax")
def log_softmax(x: jax.Array, axis: Axis = -1) -> jax.Array:
    """The logarithm of softmax."""
    return jax.nn.log_softmax(as_float(x), axis=axes_of(axis))


@function("nn.Sparsemax")
def sparsemax(x: jax.Array, axis: int = -1) -> jax.Array:
    """Keras' sparsemax along an axis."""
    return jnp.moveaxis(activations.sparsemax(jnp.moveaxis(x, axis, -1)), -1, axis)
