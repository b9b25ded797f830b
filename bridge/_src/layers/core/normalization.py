"""Normalization layers at inference: Batch, Layer, Group, RMS and Unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers
from jax.typing import DTypeLike

from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.registry import converts

#: Guard of ``UnitNormalization``, a constant in Keras.
UNIT_EPSILON = 1e-12


def _axes(value: int | tuple[int, ...] | list[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(sorted(value))


class _Affine(KerasLayer):
    """A normalization with an optional scale gamma and shift beta."""

    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True

    @staticmethod
    def _options(config: LayerConfig) -> dict[str, Any]:
        return {
            "epsilon": config.get("epsilon", 1e-3),
            "center": config.get("center", True),
            "scale": config.get("scale", True),
        }

    def weights(self) -> tuple[Weight, ...]:
        return tuple(
            Weight(name)
            for name, present in (("gamma", self.scale), ("beta", self.center))
            if present
        )

    def _gamma_and_beta(
        self, shape: tuple[int, ...], dtype: DTypeLike
    ) -> tuple[jax.Array | None, jax.Array | None]:
        gamma = self.param("gamma", initializers.ones, shape, dtype) if self.scale else None
        beta = self.param("beta", initializers.zeros, shape, dtype) if self.center else None
        return gamma, beta


def _normalize(
    inputs: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    gamma: jax.Array | None,
    beta: jax.Array | None,
    epsilon: float,
) -> jax.Array:
    """γ (x − μ) / √(v + ε) + β, as one multiplication and one addition like Keras."""
    inverse = lax.rsqrt(variance + epsilon)
    if gamma is not None:
        inverse *= gamma
    shift = -mean * inverse
    if beta is not None:
        shift += beta
    return inputs * inverse + shift


def _reshaped(
    shape: Sequence[int], gamma: jax.Array | None, beta: jax.Array | None
) -> tuple[jax.Array | None, jax.Array | None]:
    return None if gamma is None else gamma.reshape(shape), None if beta is None else beta.reshape(
        shape
    )


@converts("BatchNormalization")
class BatchNormalization(_Affine):
    """Normalization of one axis with the stored moving mean and variance.

    Parameters: gamma, beta, moving_mean, moving_variance, each (inputs.shape[axis],); with
    ``renorm`` three more statistics that only training uses.
    """

    axis: int = -1
    renorm: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore("momentum", "synchronized", "renorm_clipping", "renorm_momentum")
        (axis,) = _axes(config.get("axis", -1))
        return cls(axis=axis, renorm=config.get("renorm", False), **cls._options(config))

    def _statistics(self) -> tuple[str, ...]:
        only_training = ("moving_stddev", "renorm_mean", "renorm_stddev") if self.renorm else ()
        return ("moving_mean", "moving_variance", *only_training)

    def weights(self) -> tuple[Weight, ...]:
        return (*super().weights(), *(Weight(name, trainable=False) for name in self._statistics()))

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        shape, dtype = (inputs.shape[self.axis],), float_dtype(inputs)
        gamma, beta = self._gamma_and_beta(shape, dtype)
        mean, variance, *_ = (
            self.param(
                name,
                initializers.zeros if name.endswith("mean") else initializers.ones,
                shape,
                dtype,
            )
            for name in self._statistics()
        )
        broadcast = [1] * inputs.ndim
        broadcast[self.axis] = inputs.shape[self.axis]
        return _normalize(
            inputs,
            mean.reshape(broadcast),
            variance.reshape(broadcast),
            *_reshaped(broadcast, gamma, beta),
            self.epsilon,
        )


@converts("LayerNormalization")
class LayerNormalization(_Affine):
    """Normalization of each sample over ``axis``, with a two-pass variance.

    Parameters: gamma, beta, each shaped like the axes. ``rms_scaling`` divides by the standard
    deviation without subtracting the mean, has a gamma and no beta.
    """

    axis: tuple[int, ...] = (-1,)
    rms_scaling: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        options = cls._options(config)
        rms_scaling = config.get("rms_scaling", False)
        if rms_scaling:
            options |= {"scale": True, "center": False}
        return cls(axis=_axes(config.get("axis", -1)), rms_scaling=rms_scaling, **options)

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        gamma, beta = self._gamma_and_beta(
            tuple(inputs.shape[axis] for axis in self.axis), float_dtype(inputs)
        )
        broadcast = [1] * inputs.ndim
        for axis in self.axis:
            broadcast[axis] = inputs.shape[axis]
        gamma, beta = _reshaped(broadcast, gamma, beta)
        variance = jnp.var(inputs, axis=self.axis, keepdims=True)
        if self.rms_scaling and gamma is not None:
            return inputs * lax.rsqrt(variance + self.epsilon) * gamma
        return _normalize(
            inputs,
            jnp.mean(inputs, axis=self.axis, keepdims=True),
            variance,
            gamma,
            beta,
            self.epsilon,
        )


@converts("GroupNormalization")
class GroupNormalization(_Affine):
    """Normalization of each sample over groups of channels and all other axes (Wu & He, 2018).

    Parameters: gamma, beta, each (channels,). ``groups=-1`` is instance normalization.
    """

    groups: int = 32
    axis: int = -1

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(
            groups=config.get("groups", 32), axis=config.get("axis", -1), **cls._options(config)
        )

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        axis = self.axis % inputs.ndim
        channels = inputs.shape[axis]
        groups = channels if self.groups == -1 else self.groups
        split = (groups, channels // groups)
        grouped = inputs.reshape(*inputs.shape[:axis], *split, *inputs.shape[axis + 1 :])
        broadcast = (1,) * axis + split + (1,) * (inputs.ndim - axis - 1)
        gamma, beta = _reshaped(broadcast, *self._gamma_and_beta((channels,), float_dtype(inputs)))
        reduced = tuple(a for a in range(1, grouped.ndim) if a != axis)
        mean, variance = (
            jnp.mean(grouped, axis=reduced, keepdims=True),
            jnp.var(grouped, axis=reduced, keepdims=True),
        )
        return _normalize(grouped, mean, variance, gamma, beta, self.epsilon).reshape(inputs.shape)


@converts("RMSNormalization")
class RMSNormalization(KerasLayer):
    """x / √(mean(x²) + ε) · scale over ``axis`` (Zhang & Sennrich, 2019). Parameters: scale, shaped
    like the axes.
    """

    axis: tuple[int, ...] = (-1,)
    epsilon: float = 1e-6

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(axis=_axes(config.get("axis", -1)), epsilon=config.get("epsilon", 1e-6))

    def weights(self) -> tuple[Weight, ...]:
        return (Weight("scale"),)

    def compute_mask(self, inputs: jax.Array, mask: jax.Array | None) -> None:
        return None

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        shape = tuple(inputs.shape[axis] for axis in self.axis)
        scale = self.param("scale", initializers.ones, shape, float_dtype(inputs))
        mean_square = jnp.mean(inputs * inputs, axis=self.axis, keepdims=True)
        # Keras does not reshape the scale to its axis: it broadcasts along the last axes.
        return inputs * lax.rsqrt(mean_square + self.epsilon) * scale


def unit_vectors(inputs: jax.Array, axis: int | tuple[int, ...], epsilon: float) -> jax.Array:
    """x / max(‖x‖₂, ε) over ``axis``; zero stays zero."""
    square_sum = jnp.sum(inputs * inputs, axis=axis, keepdims=True)
    # The same as Keras' min(1/√s, 1/ε), with a finite derivative at zero.
    return inputs * lax.rsqrt(jnp.maximum(square_sum, epsilon**2))


@converts("UnitNormalization")
class UnitNormalization(KerasLayer):
    """x / ‖x‖₂ over ``axis``; zero stays zero."""

    axis: tuple[int, ...] = (-1,)

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(axis=_axes(config.get("axis", -1)))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return unit_vectors(inputs, self.axis, UNIT_EPSILON)
