"""Rescaling and Normalization."""

from __future__ import annotations

from typing import Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers
from jax.typing import DTypeLike

from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.numerics import as_float, float_dtype, rounded_constant
from bridge._src.layers.registry import converts
from lmjax._src.typing import Array, ArrayLike

#: ``keras.config.epsilon()``: the smallest standard deviation by which Normalization divides.
SMALLEST_DEVIATION = 1e-7


@converts("Rescaling")
class Rescaling(KerasLayer):
    """inputs · scale + offset, where both are numbers or broadcast against the last axes."""

    scale: Array = 1.0
    offset: Array = 0.0

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(
            scale=rounded_constant(config["scale"]),
            offset=rounded_constant(config.get("offset", 0.0)),
        )

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        inputs = as_float(inputs)
        return inputs * np.asarray(self.scale, inputs.dtype) + np.asarray(self.offset, inputs.dtype)


@converts("Normalization")
class Normalization(KerasLayer):
    """(x − mean) / max(√variance, 1e-7) over the axes that are kept, or its inverse.

    Parameters, when mean and variance were adapted to data and not given: adapt_mean,
    adapt_variance (sizes of the kept axes) and the integer count ().
    """

    axis: tuple[int, ...] = (-1,)
    mean: Array = None
    variance: Array = None
    invert: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        axis = config.get("axis", -1)
        mean, variance = config.get("mean"), config.get("variance")
        return cls(
            axis=() if axis is None else (axis,) if isinstance(axis, int) else tuple(axis),
            mean=None if mean is None else rounded_constant(mean),
            variance=None if variance is None else rounded_constant(variance),
            invert=config.get("invert", False),
        )

    def weights(self) -> tuple[Weight, ...]:
        if self.mean is not None:
            return ()
        return tuple(
            Weight(name, trainable=False) for name in ("adapt_mean", "adapt_variance", "count")
        )

    def _given(
        self, value: ArrayLike, kept: list[int], shape: list[int], dtype: DTypeLike
    ) -> jax.Array:
        """A constant spread over the kept axes, aligned with the last of them."""
        constant = np.asarray(value, dtype)
        expanded = [1] * len(shape)
        for size, axis in zip(reversed(constant.shape), reversed(kept), strict=False):
            expanded[axis] = size
        return jnp.asarray(np.broadcast_to(constant.reshape(expanded), shape))

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        inputs, dtype = as_float(inputs), float_dtype(inputs)
        kept = sorted(axis % inputs.ndim for axis in self.axis)
        shape = [size if axis in kept else 1 for axis, size in enumerate(inputs.shape)]
        if self.mean is not None:
            mean, variance = (
                self._given(value, kept, shape, dtype) for value in (self.mean, self.variance)
            )
        else:
            sizes = tuple(inputs.shape[axis] for axis in kept)
            mean = self.param("adapt_mean", initializers.zeros, sizes, dtype).reshape(shape)
            variance = self.param("adapt_variance", initializers.ones, sizes, dtype).reshape(shape)
            self.param("count", initializers.zeros, (), jnp.int32)
        deviation = jnp.maximum(jnp.sqrt(variance), SMALLEST_DEVIATION)
        return mean + inputs * deviation if self.invert else (inputs - mean) / deviation
