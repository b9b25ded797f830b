"""Max and average pooling in one, two and three dimensions, over windows or over everything. All
drop the mask.
"""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.layers.numerics import check_table
from bridge._src.layers.registry import converts
from lmjax._src.typing import PyTree, TreeFn


class Pooling(KerasLayer):
    """Options shared by the layers that pool over windows."""

    pool_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str = "valid"
    channels_first: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        pool_size = tuple(config["pool_size"])
        return cls(
            pool_size=pool_size,
            strides=tuple(config.get("strides") or pool_size),
            padding=config.require("padding", "valid", "same"),
            channels_first=config.get("data_format") == "channels_first",
        )

    def compute_mask(self, inputs: PyTree, mask: jax.Array | None) -> None:
        return None

    def _over_all_axes(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        return (1, 1, *spatial) if self.channels_first else (1, *spatial, 1)

    def _reduce(self, inputs: jax.Array, initial: float, operation: TreeFn) -> jax.Array:
        window, strides = self._over_all_axes(self.pool_size), self._over_all_axes(self.strides)
        reduced: jax.Array = lax.reduce_window(
            inputs,
            np.asarray(initial, inputs.dtype),
            operation,
            window,
            strides,
            self.padding.upper(),
        )
        return reduced


@converts("MaxPooling1D", "MaxPooling2D", "MaxPooling3D")
class MaxPooling(Pooling):
    """The largest entry of each window."""

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return self._reduce(inputs, -np.inf, lax.max)


def _window_counts(size: int, window: int, stride: int) -> np.ndarray:
    """How many entries of an axis each "same" window covers; the rest is padding."""
    outputs = -(-size // stride)
    check_table(outputs)
    padding = max((outputs - 1) * stride + window - size, 0)
    start = np.arange(outputs) * stride - padding // 2
    return np.minimum(start + window, size) - np.maximum(start, 0)


@converts("AveragePooling1D", "AveragePooling2D", "AveragePooling3D")
class AveragePooling(Pooling):
    """The mean of each window; padding does not count."""

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        first = 2 if self.channels_first else 1
        count = np.ones((), inputs.dtype)
        for axis, (window, stride) in enumerate(
            zip(self.pool_size, self.strides, strict=True), first
        ):
            covered = (
                _window_counts(inputs.shape[axis], window, stride)
                if self.padding == "same"
                else np.array([window])
            )
            check_table(count.size, len(covered))
            count = count * covered.astype(inputs.dtype).reshape(
                [-1 if a == axis else 1 for a in range(inputs.ndim)]
            )
        return self._reduce(inputs, 0.0, lax.add) / count


class GlobalPooling(KerasLayer):
    """Options shared by the layers that pool over all spatial axes."""

    channels_first: bool = False
    keepdims: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(
            channels_first=config.get("data_format") == "channels_first",
            keepdims=config.get("keepdims", False),
        )

    def compute_mask(self, inputs: PyTree, mask: jax.Array | None) -> None:
        return None

    def _axes(self, inputs: jax.Array) -> tuple[int, ...]:
        return (
            tuple(range(2, inputs.ndim))
            if self.channels_first
            else tuple(range(1, inputs.ndim - 1))
        )


@converts("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D")
class GlobalMaxPooling(GlobalPooling):
    """The largest entry of each channel."""

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return jnp.max(inputs, axis=self._axes(inputs), keepdims=self.keepdims)


@converts("GlobalAveragePooling2D", "GlobalAveragePooling3D")
class GlobalAveragePooling(GlobalPooling):
    """The mean of each channel."""

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return jnp.mean(inputs, axis=self._axes(inputs), keepdims=self.keepdims)


@converts("GlobalAveragePooling1D")
class GlobalAveragePooling1D(GlobalAveragePooling):
    """The mean of each channel over the time steps that are not masked; NaN where all are, as in
    Keras.
    """

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        if mask is None:
            return super().__call__(inputs)
        kept = jnp.expand_dims(mask.astype(bool), 1 if self.channels_first else 2)
        axes = self._axes(inputs)
        total = jnp.sum(jnp.where(kept, inputs, 0), axis=axes, keepdims=self.keepdims)
        return total / jnp.sum(kept.astype(inputs.dtype), axis=axes, keepdims=self.keepdims)
