"""Pooling to a given size: windows from ⌊i·n/m⌋ to ⌈(i+1)·n/m⌉ along each axis. Drops the mask."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp

from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.layers.numerics import check_table
from bridge._src.layers.registry import converts
from bridge._src.typing import Mask
from lmjax._src.typing import PyTree

#: A window is traced by itself, which costs as much as a table of so many constants.
_COST = 1 << 12


class AdaptivePooling(KerasLayer):
    """Options shared by the adaptive pooling layers."""

    output_size: tuple[int, ...]
    channels_first: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        size = config["output_size"]
        return cls(
            output_size=(size,) if isinstance(size, int) else tuple(size),
            channels_first=config.get("data_format") == "channels_first",
        )

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None

    def _reduce(self, window: jax.Array, axis: int) -> jax.Array:
        raise NotImplementedError(f"{type(self).__name__}._reduce")

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        for axis, outputs in enumerate(self.output_size, 2 if self.channels_first else 1):
            size = inputs.shape[axis]
            check_table(outputs, _COST)
            windows = [
                (number * size // outputs, -(-(number + 1) * size // outputs))
                for number in range(outputs)
            ]
            pooled = [
                self._reduce(jax.lax.slice_in_dim(inputs, start, end, axis=axis), axis)
                for start, end in windows
            ]
            inputs = jnp.stack(pooled, axis=axis)
        return inputs


@converts("AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D")
class AdaptiveAveragePooling(AdaptivePooling):
    """The mean of each window."""

    def _reduce(self, window: jax.Array, axis: int) -> jax.Array:
        return jnp.mean(window, axis=axis)


@converts("AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D")
class AdaptiveMaxPooling(AdaptivePooling):
    """The largest entry of each window."""

    def _reduce(self, window: jax.Array, axis: int) -> jax.Array:
        return jnp.max(window, axis=axis)
