"""Activation layers with options of their own: ELU, LeakyReLU, PReLU, ReLU, Softmax."""

from __future__ import annotations

from typing import Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers

from bridge._src.description.constants import single
from bridge._src.layers import activations
from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.registry import converts

#: What Keras' Softmax puts in place of masked logits.
MASKED_LOGIT = -1e9


@converts("ELU")
class ELU(KerasLayer):
    """x where positive, α (eˣ − 1) elsewhere."""

    alpha: float = 1.0

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(alpha=config.get("alpha", 1.0))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return activations.elu(inputs, self.alpha)


@converts("LeakyReLU")
class LeakyReLU(KerasLayer):
    """x where positive, ``negative_slope`` · x elsewhere."""

    negative_slope: float = 0.3

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        alpha = config.get("alpha", 0.3)  # the name in Keras 2
        return cls(negative_slope=float(config.get("negative_slope", alpha)))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return activations.leaky_relu(inputs, self.negative_slope)


@converts("PReLU")
class PReLU(KerasLayer):
    """x where positive, α x elsewhere, with one α for each feature.

    Parameters: alpha (inputs.shape[1:], with ones on ``shared_axes``).
    """

    shared_axes: tuple[int, ...] = ()

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(shared_axes=tuple(config.get("shared_axes") or ()))

    def weights(self) -> tuple[Weight, ...]:
        return (Weight("alpha"),)

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        shape = list(inputs.shape[1:])
        for axis in self.shared_axes:
            shape[axis - 1] = 1
        alpha = self.param("alpha", initializers.zeros, tuple(shape), float_dtype(inputs))
        return jax.nn.relu(inputs) - alpha * jax.nn.relu(-inputs)


@converts("ReLU")
class ReLU(KerasLayer):
    """max(x, 0), with optional slope below ``threshold`` and upper limit."""

    max_value: float | None = None
    negative_slope: float = 0.0
    threshold: float = 0.0

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        max_value = config.get("max_value")
        return cls(
            max_value=None if max_value is None else float(max_value),
            negative_slope=float(config.get("negative_slope") or 0.0),
            threshold=float(config.get("threshold") or 0.0),
        )

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        if self.negative_slope and self.max_value is None and not self.threshold:
            return activations.leaky_relu(inputs, self.negative_slope)
        outputs = (
            jnp.where(inputs > single(self.threshold), inputs, 0)
            if self.threshold
            else jax.nn.relu(inputs)
        )
        if self.max_value is not None:
            outputs = jnp.minimum(outputs, single(self.max_value))
        if self.negative_slope:
            outputs -= self.negative_slope * jax.nn.relu(self.threshold - inputs)
        return outputs


@converts("Softmax")
class Softmax(KerasLayer):
    """exp(x) / Σ exp(x) over one axis or several; masked entries get probability 0."""

    axis: int | tuple[int, ...] = -1

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        axis = config.get("axis", -1)
        return cls(axis=axis if isinstance(axis, int) else tuple(axis))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return masked_softmax(inputs, mask, self.axis)


def masked_softmax(
    logits: jax.Array, mask: jax.Array | None, axis: int | tuple[int, ...]
) -> jax.Array:
    """Softmax over ``axis`` of the entries that ``mask`` keeps; the others get probability 0, even
    where none is kept.
    """
    if mask is None:
        return jax.nn.softmax(logits, axis=axis)
    return jnp.where(mask, jax.nn.softmax(jnp.where(mask, logits, MASKED_LOGIT), axis=axis), 0)
