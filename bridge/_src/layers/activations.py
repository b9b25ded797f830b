"""Keras' activation functions, by the name under which Keras saves them.

Formulas follow Keras 3 on TensorFlow; constants that TensorFlow rounds to float32 are rounded here
too, so that float64 models agree to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from bridge._src.description.constants import single
from bridge._src.layers.base import KerasLayer
from bridge._src.layers.nested import convert
from bridge._src.layers.own_functions import activation_of
from bridge._src.layers.pieces import parts
from bridge._src.typing import Serialized

#: An activation in a layer's fields: a name from :data:`FUNCTIONS`, or a layer used as a function.
Activation: TypeAlias = "str | KerasLayer"

#: What Keras' config holds when no activation was given.
LINEAR = "linear"


def linear(x: jax.Array) -> jax.Array:
    """x."""
    return x


def relu(x: jax.Array) -> jax.Array:
    """max(x, 0), with derivative 0 at 0."""
    return jax.nn.relu(x)


def relu6(x: jax.Array) -> jax.Array:
    """min(max(x, 0), 6)."""
    return jax.nn.relu6(x)


def leaky_relu(x: jax.Array, negative_slope: float = 0.2) -> jax.Array:
    """x where positive, slope · x elsewhere; Keras' function has slope 0.2, Keras' layer 0.3."""
    return jnp.where(x > 0, x, single(negative_slope) * x)


def elu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """x where positive, α (eˣ − 1) elsewhere."""
    return jax.nn.elu(x, alpha)


def celu(x: jax.Array) -> jax.Array:
    """max(x, 0) + e^min(x, 0) − 1."""
    return jax.nn.elu(x)


def selu(x: jax.Array) -> jax.Array:
    """Scaled exponential linear unit (Klambauer et al., 2017)."""
    return jax.nn.selu(x)


def gelu(x: jax.Array) -> jax.Array:
    """x Φ(x), the exact form, through the complementary error function as TensorFlow computes
    it.
    """
    return 0.5 * x * lax.erfc(-x * single(0.5**0.5))


def softplus(x: jax.Array) -> jax.Array:
    """log(1 + eˣ)."""
    return jax.nn.softplus(x)


def softsign(x: jax.Array) -> jax.Array:
    """x / (1 + |x|)."""
    return x / (1 + jnp.abs(x))


def squareplus(x: jax.Array) -> jax.Array:
    """(x + √(x² + 4)) / 2 (Barron, 2021)."""
    return (x + jnp.sqrt(x * x + 4)) / 2


def soft_shrink(x: jax.Array) -> jax.Array:
    """x moved towards 0 by ½, and 0 within ½ of it."""
    return jnp.where(x > 0.5, x - 0.5, jnp.where(x < -0.5, x + 0.5, jnp.zeros_like(x)))


def hard_shrink(x: jax.Array) -> jax.Array:
    """x, and 0 within ½ of 0."""
    return jnp.where(jnp.abs(x) > 0.5, x, jnp.zeros_like(x))


def tanh_shrink(x: jax.Array) -> jax.Array:
    """x − tanh x."""
    return x - jnp.tanh(x)


def hard_tanh(x: jax.Array) -> jax.Array:
    """x clipped to [−1, 1]."""
    return jnp.clip(x, -1, 1)


def hard_sigmoid(x: jax.Array) -> jax.Array:
    """relu6(x + 3) / 6, as in Keras 3 (Keras 2 has another slope)."""
    return jax.nn.relu6(x + 3) / 6


def keras2_hard_sigmoid(x: jax.Array) -> jax.Array:
    """0.2 x + 0.5 clipped to [0, 1]: what Keras 2 calls hard_sigmoid."""
    return jnp.clip(single(0.2) * x + 0.5, 0, 1)


def hard_silu(x: jax.Array) -> jax.Array:
    """x · hard_sigmoid(x)."""
    return x * hard_sigmoid(x)


def silu(x: jax.Array) -> jax.Array:
    """x · sigmoid(x), also called swish."""
    return jax.nn.silu(x)


def mish(x: jax.Array) -> jax.Array:
    """x tanh(softplus x)."""
    return x * jnp.tanh(jax.nn.softplus(x))


def sparse_plus(x: jax.Array) -> jax.Array:
    """0 below −1, x above 1, (x + 1)² / 4 between."""
    return jnp.where(x <= -1, jnp.zeros_like(x), jnp.where(x < 1, (x + 1) ** 2 / 4, x))


def sparse_sigmoid(x: jax.Array) -> jax.Array:
    """(x + 1) / 2 clipped to [0, 1]."""
    return jnp.where(x <= -1, jnp.zeros_like(x), jnp.where(x >= 1, jnp.ones_like(x), 0.5 * (x + 1)))


def glu(x: jax.Array) -> jax.Array:
    """a · sigmoid(b), where a and b are the halves of the last axis."""
    a, b = parts(x, 2)
    return a * jax.nn.sigmoid(b)


def sparsemax(x: jax.Array) -> jax.Array:
    """Keras' sparsemax along the last axis.

    It is the simplex projection of Martins & Astudillo (2016) only where at most one entry is kept:
    Keras sums all cumulative sums over the support where the paper takes the last one. The model's
    function is Keras'.
    """
    descending = -jnp.sort(-x, axis=-1)
    cumulative = jnp.cumsum(descending, axis=-1)
    rank = jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    support = descending - (cumulative - 1) / rank > 0
    size = jnp.sum(support, axis=-1, keepdims=True).astype(x.dtype)
    threshold = (jnp.sum(jnp.where(support, cumulative, 0), axis=-1, keepdims=True) - 1) / size
    return jnp.maximum(x - threshold, 0)


#: Every activation of ``keras.activations`` that Keras can save by name, with its aliases.
FUNCTIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "celu": celu,
    "elu": elu,
    "exponential": jnp.exp,
    "gelu": gelu,
    "glu": glu,
    "hard_shrink": hard_shrink,
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_swish": hard_silu,
    "hard_tanh": hard_tanh,
    "leaky_relu": leaky_relu,
    "linear": linear,
    "log_sigmoid": jax.nn.log_sigmoid,
    "log_softmax": functools.partial(jax.nn.log_softmax, axis=-1),
    "mish": mish,
    "relu": relu,
    "relu6": relu6,
    "selu": selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": silu,
    "soft_shrink": soft_shrink,
    "softmax": functools.partial(jax.nn.softmax, axis=-1),
    "softplus": softplus,
    "softsign": softsign,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
    "sparsemax": sparsemax,
    "squareplus": squareplus,
    "swish": silu,
    "tanh": jnp.tanh,
    "tanh_shrink": tanh_shrink,
}

#: All functions that a configuration can name; the reader gives the one that only Keras 2 has a
#: name of its own.
_BY_NAME = {**FUNCTIONS, "keras2_hard_sigmoid": keras2_hard_sigmoid}


def from_config(value: Serialized) -> Activation:
    """The activation for its entry in a Keras config: None, a name, a serialized layer, or a
    function that is none of Keras'.

    Raises :class:`LayerRefused` for a function that cannot be had.
    """
    if value is None:
        return LINEAR
    if isinstance(value, str) and value in _BY_NAME:
        return value
    is_layer = (
        isinstance(value, Mapping)
        and isinstance(value.get("config"), Mapping)
        and value.get("class_name") != "__lambda__"
    )
    return convert(value) if is_layer else activation_of(value)


def apply(activation: Activation, x: jax.Array) -> jax.Array:
    """``activation`` of ``x``, inside a module that holds it as a field."""
    return _BY_NAME[activation](x) if isinstance(activation, str) else activation(x)


def as_function(activation: Activation, example: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """``activation`` as a pure function that may be called inside ``lax.scan``, where Flax modules
    may not.

    ``example`` has the shape of the later arguments; the layer's parameters are declared by one
    call with it.
    """
    if isinstance(activation, str):
        return _BY_NAME[activation]
    activation(example)
    module, variables = activation.unbind()
    function: Callable[[jax.Array], Any] = functools.partial(module.apply, variables)
    return function
