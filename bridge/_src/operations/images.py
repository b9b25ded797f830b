"""Functions of images (batch, height, width, channels), of single ones, and of those with their
channels first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from bridge._src.layers.convolutional.convolve import convolve
from bridge._src.layers.numerics import check_table
from bridge._src.layers.preprocessing.images import Resizing
from bridge._src.operations.table import as_float, function, refused
from bridge._src.operations.windows import FIRST, conv, spread
from bridge._src.typing import Sizes
from lmjax._src.typing import Array, ArrayLike

refused(
    "TensorFlow computes the positions in single precision, where a rounding decides "
    "which pixel is read",
    "image.AffineTransform",
    "image.PerspectiveTransform",
)


def batched(
    images: jax.Array, data_format: str | None, turned: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """``turned`` of a batch of images with their channels behind, for images in any format; outputs
    likewise.
    """
    single, first = images.ndim == 3, data_format == FIRST
    batch = images[None] if single else images
    outputs = turned(jnp.moveaxis(batch, 1, -1) if first else batch)
    outputs = jnp.moveaxis(outputs, 3, 1) if first else outputs
    return outputs[0] if single else outputs


@function("image.Resize", "fill_mode")
def resize(
    images: jax.Array,
    size: Sizes,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> jax.Array:
    """Images interpolated to a new size, as the layer Resizing does it; whole numbers become
    fractions here.
    """
    aspect = "crop" if crop_to_aspect_ratio else "pad" if pad_to_aspect_ratio else None
    layer = Resizing(
        height=size[0],
        width=size[1],
        interpolation=interpolation,
        aspect_ratio=aspect,
        fill_value=float(fill_value),
        antialias=antialias,
        parent=None,
    )
    return batched(images if interpolation == "nearest" else as_float(images), data_format, layer)


@function("image.ExtractPatches")
def extract_patches(
    images: jax.Array,
    size: Sizes,
    strides: Sizes = None,
    dilation_rate: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> jax.Array:
    """The windows of images, or of volumes, in the place of channels."""
    rank = 2 if isinstance(size, int) else len(size)
    window, single = spread(size, rank), images.ndim == rank + 1
    batch = images[None] if single else images
    channels = batch.shape[1 if data_format == FIRST else -1]
    count = math.prod(window) * channels
    check_table(count, count)
    kernel = jnp.eye(count, dtype=images.dtype).reshape(*window, channels, count)
    patches = conv(
        batch, kernel, window if strides is None else strides, padding, data_format, dilation_rate
    )
    return patches[0] if single else patches


def _margin(before: Sizes, after: Sizes, total: Sizes) -> tuple[int, int]:
    """Both ends of an axis, of which one follows from the total where it is not given."""
    before = total - after if before is None else before
    return before, total - before if after is None else after


def _edges(
    images: jax.Array, data_format: str | None, margins: Sizes, targets: Sizes, sign: int
) -> list[tuple[int, int, int]]:
    """What is added (or with sign -1 taken away) at the edges of height and width, as ``lax.pad``
    takes it.
    """
    height = images.ndim - (2 if data_format == FIRST else 3)
    config = [(0, 0, 0)] * images.ndim
    for axis, (before, after), target in zip((height, height + 1), margins, targets, strict=True):
        first, last = _margin(
            before, after, None if target is None else sign * (target - images.shape[axis])
        )
        config[axis] = (sign * first, sign * last, 0)
    return config


@function("image.PadImages")
def pad_images(
    images: jax.Array,
    top_padding: Sizes = None,
    left_padding: Sizes = None,
    bottom_padding: Sizes = None,
    right_padding: Sizes = None,
    target_height: Sizes = None,
    target_width: Sizes = None,
    data_format: str | None = None,
) -> jax.Array:
    """Images with margins of zeros."""
    margins = ((top_padding, bottom_padding), (left_padding, right_padding))
    return lax.pad(
        images,
        jnp.zeros((), images.dtype),
        _edges(images, data_format, margins, (target_height, target_width), 1),
    )


@function("image.CropImages")
def crop_images(
    images: jax.Array,
    top_cropping: Sizes = None,
    left_cropping: Sizes = None,
    bottom_cropping: Sizes = None,
    right_cropping: Sizes = None,
    target_height: Sizes = None,
    target_width: Sizes = None,
    data_format: str | None = None,
) -> jax.Array:
    """Images without their margins."""
    margins = ((top_cropping, bottom_cropping), (left_cropping, right_cropping))
    return lax.pad(
        images,
        jnp.zeros((), images.dtype),
        _edges(images, data_format, margins, (target_height, target_width), -1),
    )


def _bell(size: int, sigma: ArrayLike, dtype: DTypeLike) -> jax.Array:
    values = jnp.exp(-0.5 * ((jnp.arange(size, dtype=dtype) - (size - 1) / 2) / sigma) ** 2)
    return values / jnp.sum(values)


def _each_channel(images: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
    """Every channel convolved with one kernel (height, width)."""
    channels = images.shape[-1]
    tiled = jnp.broadcast_to(kernel[:, :, None, None], (*kernel.shape, 1, channels))
    return convolve(images, tiled, padding=padding, groups=channels)


@function("image.GaussianBlur")
def gaussian_blur(
    images: jax.Array,
    kernel_size: Sizes = (3, 3),
    sigma: ArrayLike = (1.0, 1.0),
    data_format: str | None = None,
) -> jax.Array:
    """Images blurred by a bell."""
    across, down = (
        _bell(size, jnp.asarray(width, images.dtype), images.dtype)
        for size, width in zip(kernel_size, sigma, strict=True)
    )
    # Keras gives the product the shape of the window without turning it.
    bell = jnp.outer(down, across).reshape(tuple(kernel_size))
    return batched(images, data_format, lambda batch: _each_channel(batch, bell, "SAME"))


@function("image.SobelEdges")
def sobel_edges(images: jax.Array, data_format: str | None = None) -> jax.Array:
    """The slopes down and across of every channel, in a last axis of two; the edges are
    mirrored.
    """

    def slopes(batch: jax.Array) -> jax.Array:
        padded = jnp.pad(batch, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
        down = jnp.asarray([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], batch.dtype)
        return jnp.stack(
            [_each_channel(padded, kernel, "VALID") for kernel in (down, down.T)], axis=-1
        )

    return batched(images, data_format, slopes)


@function("image.SSIM")
def ssim(
    image1: jax.Array,
    image2: jax.Array,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> jax.Array:
    """The structural similarity of images (Wang et al., 2004)."""
    single, first = image1.ndim == 3, data_format == FIRST
    one, two = (
        jnp.moveaxis(image, -3, -1) if first else image for image in map(as_float, (image1, image2))
    )
    one, two = (image[None] if single else image for image in (one, two))
    bell = _bell(filter_size, filter_sigma, one.dtype)

    def mean(images: jax.Array) -> jax.Array:
        return _each_channel(images, jnp.outer(bell, bell), "VALID")

    (m1, m2), c1, c2 = (mean(one), mean(two)), (k1 * max_val) ** 2, (k2 * max_val) ** 2
    v1, v2, v12 = mean(one * one) - m1 * m1, mean(two * two) - m2 * m2, mean(one * two) - m1 * m2
    similarity = (2 * m1 * m2 + c1) * (2 * v12 + c2) / ((m1 * m1 + m2 * m2 + c1) * (v1 + v2 + c2))
    result = jnp.mean(similarity, axis=(1, 2, 3)).astype(image1.dtype)
    return result[0] if single else result


def _inside(index: jax.Array, size: int, mode: str) -> jax.Array:
    """Positions within an axis of ``size``, where those outside go by Keras' rules on
    TensorFlow.
    """
    if mode == "wrap":
        return index % size
    if mode in ("mirror", "reflect"):
        turned = jnp.abs(index) % (2 * size)
        return jnp.where(turned < size, turned, 2 * size - turned - (mode == "reflect"))
    return jnp.clip(index, 0, size - 1)


@function("image.MapCoordinates")
def map_coordinates(
    inputs: jax.Array,
    coordinates: ArrayLike,
    order: int,
    fill_mode: str = "constant",
    fill_value: ArrayLike = 0.0,
) -> jax.Array:
    """The entries at positions between them, by the nearest or linearly."""
    nodes = []
    for position in jnp.asarray(coordinates):
        if order == 0:
            nodes.append([(jnp.round(position).astype(jnp.int32), jnp.ones_like(position))])
        else:
            below = jnp.floor(position)
            at = below.astype(jnp.int32)
            nodes.append([(at, 1 - (position - below)), (at + 1, position - below)])
    total: Array = 0
    for corner in itertools.product(*nodes):
        indices = [
            _inside(index, size, fill_mode)
            for (index, _), size in zip(corner, inputs.shape, strict=True)
        ]
        values = inputs[tuple(indices)]
        if fill_mode == "constant":
            outside = [
                (index < 0) | (index >= size)
                for (index, _), size in zip(corner, inputs.shape, strict=True)
            ]
            values = jnp.where(
                jnp.any(jnp.stack(outside), axis=0), jnp.asarray(fill_value, inputs.dtype), values
            )
        total = total + math.prod(weight for _, weight in corner) * values
    return (
        total
        if jnp.issubdtype(inputs.dtype, jnp.inexact)
        else jnp.round(total).astype(inputs.dtype)
    )


@function("image.ScaleAndTranslate")
def scale_and_translate(
    images: jax.Array,
    output_shape: Sizes,
    scale: ArrayLike,
    translation: ArrayLike,
    spatial_dims: Sizes,
    method: str,
    antialias: bool = True,
) -> jax.Array:
    """Images resampled on a scaled and shifted grid."""
    shape = tuple(int(size) for size in np.asarray(output_shape))
    floating = as_float(images)
    moved = jax.image.scale_and_translate(
        floating,
        shape,
        spatial_dims,
        jnp.asarray(scale),
        jnp.asarray(translation),
        method,
        antialias,
        precision=lax.Precision.HIGHEST,
    )
    return moved if floating.dtype == images.dtype else jnp.round(moved).astype(images.dtype)
