"""AutoContrast and ContrastLimitedAdaptiveHistogramEqualization, which change images at inference,
too.
"""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.description.errors import LayerRefused
from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.layers.numerics import as_float, check_table
from bridge._src.layers.registry import converts
from bridge._src.typing import Mask
from lmjax._src.typing import PyTree

#: Range in which images are changed, and its number of levels.
FULL, LEVELS = (0.0, 255.0), 256

Range = tuple[float, float]


def to_range(images: jax.Array, source: Range, target: Range) -> jax.Array:
    """``images`` moved linearly from one range of values to another."""
    if tuple(source) == tuple(target):
        return images
    low, high, start, end = (jnp.asarray(value, images.dtype) for value in (*source, *target))
    return (images - low) / (high - low) * (end - start) + start


class _Contrast(KerasLayer):
    value_range: Range = FULL

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None


def _range_of(config: LayerConfig) -> Range:
    low, high = map(float, config.get("value_range", FULL))
    if low == high:
        raise LayerRefused(f"value_range={(low, high)} is empty")
    return low, high


@converts("AutoContrast")
class AutoContrast(_Contrast):
    """Every channel of every image stretched over the range of values; one of a single value stays
    as it is.

    The two axes behind that of the batch are taken for height and width whatever ``data_format``
    says, as in Keras.
    """

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore("data_format", "bounding_box_format")
        low, high = sorted(_range_of(config))
        return cls(value_range=(low, high))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        images = to_range(as_float(inputs), self.value_range, FULL)
        low, high = (
            function(images, axis=(1, 2), keepdims=True) for function in (jnp.min, jnp.max)
        )
        flat = high == low
        scale = FULL[1] / jnp.where(flat, 1, high - low)
        stretched = to_range(jnp.clip(images * scale - low * scale, *FULL), FULL, self.value_range)
        return jnp.where(flat | jnp.isnan(stretched), as_float(inputs), stretched)


@converts("ContrastLimitedAdaptiveHistogramEqualization")
class ContrastLimitedAdaptiveHistogramEqualization(_Contrast):
    """Histograms of tiles are cut off, made even, and interpolated between the tiles (Zuiderveld,
    1994), in float32.

    No derivative reaches the inputs.
    """

    clip_limit: float = 4.0
    tiles: tuple[int, int] = (8, 8)
    channels_first: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore("bounding_box_format")
        rows, columns = config.get("tile_grid_size", (8, 8))
        return cls(
            value_range=_range_of(config),
            clip_limit=float(config.get("clip_limit", 4.0)),
            tiles=(int(rows), int(columns)),
            channels_first=config.get("data_format") == "channels_first",
        )

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        images = jnp.moveaxis(inputs, 1, -1) if self.channels_first else inputs
        images = to_range(images.astype(jnp.float32), self.value_range, FULL)
        changed = to_range(self._equalized(images), FULL, self.value_range).astype(
            as_float(inputs).dtype
        )
        changed = jnp.trunc(changed) if jnp.issubdtype(inputs.dtype, jnp.integer) else changed
        return jnp.moveaxis(changed, -1, 1) if self.channels_first else changed

    def _equalized(self, images: jax.Array) -> jax.Array:
        height, width = images.shape[1:3]
        sizes = -(-height // self.tiles[0]), -(-width // self.tiles[1])
        margins = [
            size * count - actual
            for size, count, actual in zip(sizes, self.tiles, (height, width), strict=True)
        ]
        check_table(
            *(size * count for size, count in zip(sizes, self.tiles, strict=True)), images.shape[-1]
        )
        padded = jnp.pad(
            images, [(0, 0), (0, margins[0]), (0, margins[1]), (0, 0)], mode="symmetric"
        )
        levels = jnp.clip(padded, *FULL).astype(jnp.int32)
        curves = jnp.pad(
            self._curves(levels, sizes), [(0, 0), (1, 1), (1, 1), (0, 0), (0, 0)], mode="edge"
        )
        (top, bottom, down), (left, right, across) = (
            _neighbours(size, count) for size, count in zip(sizes, self.tiles, strict=True)
        )
        batch, channel = (
            np.arange(images.shape[0])[:, None, None, None],
            np.arange(images.shape[-1]),
        )

        def looked_up(rows: np.ndarray, columns: np.ndarray) -> jax.Array:
            return curves[batch, rows[:, None, None], columns[:, None], channel, levels]

        upper, lower = (
            looked_up(rows, left) * (1 - across[:, None]) + looked_up(rows, right) * across[:, None]
            for rows in (top, bottom)
        )
        down = down[:, None, None]
        return (upper * (1 - down) + lower * down)[:, :height, :width]

    def _curves(self, levels: jax.Array, sizes: tuple[int, int]) -> jax.Array:
        """What each level becomes in each tile, (batch, rows, columns, channels, levels)."""
        (rows, columns), (height, width) = self.tiles, sizes
        batch, channels, pixels = levels.shape[0], levels.shape[-1], height * width
        tiled = (
            levels.reshape(batch, rows, height, columns, width, channels)
            .transpose(0, 1, 3, 5, 2, 4)
            .reshape(-1, pixels)
        )
        counts = (
            jnp.zeros((len(tiled), LEVELS), jnp.float32)
            .at[np.arange(len(tiled))[:, None], tiled]
            .add(1)
        )
        if self.clip_limit > 0:
            kept = jnp.clip(counts, 0, jnp.float32(self.clip_limit * pixels / LEVELS))
            counts = kept + jnp.sum(counts - kept, axis=-1, keepdims=True) / LEVELS
        sums = jnp.cumsum(counts, axis=-1)
        least = jnp.min(sums, axis=-1, keepdims=True)
        span = pixels - least
        curves = jnp.clip((sums - least) * FULL[1] / jnp.where(span == 0, 1, span), *FULL)
        return curves.reshape(batch, rows, columns, channels, LEVELS)


def _neighbours(size: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel of ``count`` tiles of ``size``: the tiles before and behind it, among them and
    two edges, and the place between.
    """
    place = (np.arange(size * count, dtype=np.float32) - np.float32(size / 2)) / np.float32(
        size
    ) + np.float32(1)
    before = np.floor(place)
    within = [np.clip(tile, 0, count + 1).astype(int) for tile in (before, before + 1)]
    return within[0], within[1], place - before
