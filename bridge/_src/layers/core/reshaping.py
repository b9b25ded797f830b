"""Layers that move, cut, pad or repeat entries. All drop the mask."""

from __future__ import annotations

import math
from typing import Self

import jax
import jax.numpy as jnp

from bridge._src.description.errors import LayerRefused
from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.layers.numerics import hashable
from bridge._src.layers.registry import converts
from bridge._src.layers.resizing import KERNELS, resize
from lmjax._src.typing import PyTree


class _Reshaping(KerasLayer):
    def compute_mask(self, inputs: PyTree, mask: jax.Array | None) -> None:
        return None


@converts("Flatten")
class Flatten(_Reshaping):
    """(batch, …) to (batch, product); ``channels_first`` moves axis 1 to the end before."""

    channels_first: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(channels_first=config.get("data_format") == "channels_first")

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        if self.channels_first and inputs.ndim > 1:
            inputs = jnp.moveaxis(inputs, 1, -1)
        return inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))


@converts("Reshape")
class Reshape(_Reshaping):
    """(batch, …) to (batch, *target_shape); one size may be -1."""

    target_shape: tuple[int, ...]

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(
            target_shape=tuple(-1 if size is None else size for size in config["target_shape"])
        )

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return inputs.reshape(inputs.shape[0], *self.target_shape)


@converts("Permute")
class Permute(_Reshaping):
    """Axes in another order; ``dims`` counts from 1 and leaves the batch axis in place."""

    dims: tuple[int, ...]

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(dims=tuple(config["dims"]))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return jnp.transpose(inputs, (0, *self.dims))


@converts("RepeatVector")
class RepeatVector(_Reshaping):
    """(batch, features) to (batch, n, features)."""

    n: int

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(n=config["n"])

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return jnp.broadcast_to(inputs[:, None, :], (inputs.shape[0], self.n, inputs.shape[1]))


class _Margins(_Reshaping):
    """A layer with (before, after) for each spatial axis."""

    margins: tuple[tuple[int, int], ...]
    channels_first: bool = False

    @classmethod
    def _from_option(cls, config: LayerConfig, option: str) -> Self:
        margins = hashable(config[option])
        if isinstance(margins[0], int):  # the 1D layers write a single pair
            margins = (margins,)
        return cls(margins=margins, channels_first=config.get("data_format") == "channels_first")

    def _pad(self, inputs: jax.Array, sign: int) -> jax.Array:
        spatial = [(sign * before, sign * after, 0) for before, after in self.margins]
        config = (
            [(0, 0, 0), (0, 0, 0), *spatial]
            if self.channels_first
            else [(0, 0, 0), *spatial, (0, 0, 0)]
        )
        return jax.lax.pad(inputs, jnp.zeros((), inputs.dtype), config)


@converts("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
class ZeroPadding(_Margins):
    """Zeros around the spatial axes."""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls._from_option(config, "padding")

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return self._pad(inputs, 1)


@converts("Cropping1D", "Cropping2D", "Cropping3D")
class Cropping(_Margins):
    """Margins of the spatial axes cut off."""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls._from_option(config, "cropping")

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return self._pad(inputs, -1)


@converts("UpSampling1D", "UpSampling2D", "UpSampling3D")
class UpSampling(_Reshaping):
    """Spatial axes enlarged by whole factors: entries repeated, or (2D) interpolated."""

    size: tuple[int, ...]
    interpolation: str = "nearest"
    channels_first: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        size = config["size"]
        interpolation = config.get("interpolation", "nearest")
        if interpolation not in ("nearest", *KERNELS):
            raise LayerRefused(f"interpolation={interpolation!r} is not supported")
        return cls(
            size=(size,) if isinstance(size, int) else tuple(size),
            interpolation=interpolation,
            channels_first=config.get("data_format") == "channels_first",
        )

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        first = 2 if self.channels_first else 1
        if self.interpolation == "nearest":
            for axis, factor in enumerate(self.size, first):
                inputs = jnp.repeat(inputs, factor, axis=axis)
            return inputs
        sizes = {axis: inputs.shape[axis] * factor for axis, factor in enumerate(self.size, first)}
        return resize(inputs, sizes, self.interpolation)
