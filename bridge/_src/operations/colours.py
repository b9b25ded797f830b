"""Functions of ``keras.ops.image`` that change colours, pixel by pixel."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from bridge._src.operations.images import batched
from bridge._src.operations.table import as_float, function
from bridge._src.operations.windows import FIRST

#: The weights of red, green and blue in grey.
_GREY = (0.2989, 0.5870, 0.1140)


@function("image.RGBToGrayscale")
def rgb_to_grayscale(images: jax.Array, data_format: str | None = None) -> jax.Array:
    """The weighted mean of the three colours."""
    axis = -3 if data_format == FIRST else -1
    if images.shape[axis] == 1:
        return images
    floating = as_float(images)
    return jnp.expand_dims(
        jnp.tensordot(floating, jnp.asarray(_GREY, floating.dtype), (axis, -1)), axis
    ).astype(images.dtype)


def _hsv(images: jax.Array) -> jax.Array:
    red, green, blue = (images[..., channel] for channel in range(3))
    value = jnp.max(images, axis=-1)
    spread_of = value - jnp.min(images, axis=-1)
    divisor = jnp.where(spread_of > 0, spread_of, 1)
    saturation = jnp.where(value > 0, spread_of / jnp.where(value > 0, value, 1), 0)
    sector = 1 / (6 * divisor)
    hue = jnp.where(
        red == value,
        sector * (green - blue),
        jnp.where(green == value, sector * (blue - red) + 2 / 6, sector * (red - green) + 4 / 6),
    )
    hue = jnp.where(spread_of > 0, hue, 0)
    return jnp.stack([jnp.where(hue < 0, hue + 1, hue), saturation, value], axis=-1)


@function("image.RGBToHSV")
def rgb_to_hsv(images: jax.Array, data_format: str | None = None) -> jax.Array:
    """Hue, saturation and value of red, green and blue."""
    return batched(images, data_format, _hsv)


def _rgb(images: jax.Array) -> jax.Array:
    hue, saturation, value = (images[..., channel] for channel in range(3))
    ramp = 6 * hue
    red, green, blue = jnp.abs(ramp - 3) - 1, 2 - jnp.abs(ramp - 2), 2 - jnp.abs(ramp - 4)
    parts = jnp.clip(jnp.stack([red, green, blue], axis=-1), 0, 1)
    return ((parts - 1) * saturation[..., None] + 1) * value[..., None]


@function("image.HSVToRGB")
def hsv_to_rgb(images: jax.Array, data_format: str | None = None) -> jax.Array:
    """Red, green and blue of hue, saturation and value."""
    return batched(images, data_format, _rgb)
