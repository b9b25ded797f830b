"""Resizing and CenterCrop. Both drop the mask."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp

from bridge._src.description.errors import LayerRefused
from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.layers.numerics import as_float
from bridge._src.layers.registry import converts
from bridge._src.layers.resizing import KERNELS, resize, resize_nearest
from bridge._src.typing import Mask
from lmjax._src.typing import PyTree


class _Images(KerasLayer):
    """A layer that gives images a new size."""

    height: int
    width: int
    channels_first: bool = False

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None

    def ignores_training(self) -> bool:
        return True

    def _axes(self) -> tuple[int, int]:
        return (2, 3) if self.channels_first else (1, 2)


@converts("Resizing")
class Resizing(_Images):
    """Images interpolated to a new size; first cropped or padded to its aspect ratio, where
    asked.
    """

    interpolation: str = "bilinear"
    aspect_ratio: str | None = None
    fill_value: float = 0.0
    antialias: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        interpolation = config.get("interpolation", "bilinear")
        if interpolation not in ("nearest", *KERNELS):
            raise LayerRefused(f"interpolation={interpolation!r} is not supported")
        config.require("fill_mode", "constant")
        crop, pad = config.get("crop_to_aspect_ratio"), config.get("pad_to_aspect_ratio")
        return cls(
            height=config["height"],
            width=config["width"],
            channels_first=config.get("data_format") == "channels_first",
            interpolation=interpolation,
            aspect_ratio="crop" if crop else "pad" if pad else None,
            fill_value=float(config.get("fill_value") or 0.0),
            antialias=bool(config.get("antialias", False)),
        )

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        axes = self._axes()
        if self.aspect_ratio == "crop":
            inputs = crop_to(inputs, axes, (self.height, self.width))
        elif self.aspect_ratio == "pad":
            inputs = self._pad(inputs, axes)
        sizes = dict(zip(axes, (self.height, self.width), strict=True))
        if self.interpolation == "nearest":
            return resize_nearest(inputs, sizes)
        resized = resize(as_float(inputs), sizes, self.interpolation, self.antialias)
        return resized if jnp.issubdtype(inputs.dtype, jnp.floating) else jnp.round(resized)

    def _pad(self, inputs: jax.Array, axes: tuple[int, int]) -> jax.Array:
        height, width = (inputs.shape[axis] for axis in axes)
        padded = (
            max(height, width * self.height // self.width),
            max(width, height * self.width // self.height),
        )
        margins = [(0, 0, 0)] * inputs.ndim
        for axis, size in zip(axes, padded, strict=True):
            # Keras pads both sides alike and leaves out an odd row.
            margin = (size - inputs.shape[axis]) // 2
            margins[axis] = (margin, margin, 0)
        return jax.lax.pad(inputs, jnp.asarray(self.fill_value, inputs.dtype), margins)


@converts("CenterCrop")
class CenterCrop(_Images):
    """The middle of images; smaller images are enlarged to cover the new size and cropped."""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(
            height=config["height"],
            width=config["width"],
            channels_first=config.get("data_format") == "channels_first",
        )

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        inputs, axes, wanted = as_float(inputs), self._axes(), (self.height, self.width)
        if all(inputs.shape[axis] >= size for axis, size in zip(axes, wanted, strict=True)):
            for axis, size in zip(axes, wanted, strict=True):
                inputs = jax.lax.slice_in_dim(
                    inputs, start := (inputs.shape[axis] - size) // 2, start + size, axis=axis
                )
            return inputs
        return resize(
            crop_to(inputs, axes, wanted), dict(zip(axes, wanted, strict=True)), "bilinear"
        )


def crop_to(inputs: jax.Array, axes: tuple[int, int], wanted: tuple[int, int]) -> jax.Array:
    """The largest part in the middle of ``inputs`` whose aspect ratio is that of ``wanted``
    (height, width).
    """
    height, width = (inputs.shape[axis] for axis in axes)
    kept = (
        max(min(height, width * wanted[0] // wanted[1]), 1),
        max(min(width, height * wanted[1] // wanted[0]), 1),
    )
    for axis, size in zip(axes, kept, strict=True):
        inputs = jax.lax.slice_in_dim(
            inputs, start := (inputs.shape[axis] - size) // 2, start + size, axis=axis
        )
    return inputs
