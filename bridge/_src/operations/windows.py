"""Convolutions, pooling and other functions of windows that move over space."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from bridge._src.layers.convolutional.convolution import ConvTranspose, DepthwiseConv
from bridge._src.layers.convolutional.convolve import convolve
from bridge._src.layers.pooling.adaptive_pooling import AdaptiveAveragePooling, AdaptiveMaxPooling
from bridge._src.layers.pooling.pooling import AveragePooling, MaxPooling
from bridge._src.operations.table import function
from bridge._src.typing import LiveLayer, Sizes

FIRST = "channels_first"


def spread(value: Any, rank: int) -> tuple[int, ...]:
    """A number for each spatial axis; one stands for all."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _pooled(name: str, layer: LiveLayer) -> None:
    @function(name)
    def pool(
        inputs: jax.Array,
        pool_size: Sizes,
        strides: Sizes = None,
        padding: str = "valid",
        data_format: str | None = None,
    ) -> jax.Array:
        rank = inputs.ndim - 2
        size = spread(pool_size, rank)
        pooled: jax.Array = layer(
            size,
            spread(size if strides is None else strides, rank),
            padding,
            data_format == FIRST,
            parent=None,
        )(inputs)
        return pooled


def _adapted(name: str, layer: LiveLayer) -> None:
    @function(name)
    def pool(inputs: jax.Array, output_size: Sizes, data_format: str | None = None) -> jax.Array:
        pooled: jax.Array = layer(
            spread(output_size, inputs.ndim - 2), data_format == FIRST, parent=None
        )(inputs)
        return pooled


_pooled("nn.MaxPool", MaxPooling)
_pooled("nn.AveragePool", AveragePooling)
_adapted("nn.AdaptiveMaxPool", AdaptiveMaxPooling)
_adapted("nn.AdaptiveAveragePool", AdaptiveAveragePooling)


@function("nn.Conv")
def conv(
    inputs: jax.Array,
    kernel: jax.Array,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """Convolution; kernel (*window, channels / groups, filters)."""
    rank, first = inputs.ndim - 2, data_format == FIRST
    groups = inputs.shape[1 if first else -1] // kernel.shape[-2]
    return convolve(
        inputs,
        kernel,
        strides=spread(strides, rank),
        padding=padding.upper(),
        dilation=spread(dilation_rate, rank),
        groups=groups,
        channels_first=first,
    )


def _depthwise(
    inputs: jax.Array, kernel: jax.Array, strides: Sizes, padding: str, first: bool, dilation: Sizes
) -> jax.Array:
    rank = inputs.ndim - 2
    layer = DepthwiseConv(
        kernel.shape[:-2],
        spread(strides, rank),
        spread(dilation, rank),
        padding,
        first,
        parent=None,
    )
    return layer._depthwise(inputs, kernel)


@function("nn.DepthwiseConv")
def depthwise_conv(
    inputs: jax.Array,
    kernel: jax.Array,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """Each channel convolved alone; kernel (*window, channels, multiplier)."""
    return _depthwise(inputs, kernel, strides, padding, data_format == FIRST, dilation_rate)


@function("nn.SeparableConv")
def separable_conv(
    inputs: jax.Array,
    depthwise_kernel: jax.Array,
    pointwise_kernel: jax.Array,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """Each channel convolved alone, then all combined at each place."""
    first = data_format == FIRST
    return convolve(
        _depthwise(inputs, depthwise_kernel, strides, padding, first, dilation_rate),
        pointwise_kernel,
        channels_first=first,
    )


@function("nn.ConvTranspose")
def conv_transpose(
    inputs: jax.Array,
    kernel: jax.Array,
    strides: Sizes = 1,
    padding: str = "valid",
    output_padding: Sizes = None,
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """Transposed convolution; kernel (*window, filters, channels)."""
    rank, first = inputs.ndim - 2, data_format == FIRST
    extra = None if output_padding is None else spread(output_padding, rank)
    steps, gaps = spread(strides, rank), spread(dilation_rate, rank)
    layer = ConvTranspose(
        kernel.shape[:-2], steps, gaps, padding, first, output_padding=extra, parent=None
    )
    return convolve(
        inputs,
        lax.rev(kernel, range(rank)),
        padding=[layer._margins(axis) for axis in range(rank)],
        input_dilation=steps,
        dilation=gaps,
        channels_first=first,
        kernel_channels="OI",
    )


@function("nn.Unfold")
def unfold(
    input: jax.Array,  # noqa: A002 - Keras' name
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> jax.Array:
    """The windows of images (batch, channels, height, width) as columns (batch, channels · window,
    places).
    """
    window, rates, steps = (spread(one, 2) for one in (kernel_size, dilation, stride))
    margins = [(one, one) for one in spread(padding, 2)]
    patches = lax.conv_general_dilated_patches(input, window, steps, margins, rhs_dilation=rates)
    return patches.reshape(*patches.shape[:2], -1)


@function("nn.Fold")
def fold(
    x: jax.Array,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> jax.Array:
    """The sum of windows where they overlap: the adjoint of unfold."""
    window, size = spread(kernel_size, 2), spread(output_size, 2)
    image = jax.ShapeDtypeStruct((x.shape[0], x.shape[1] // math.prod(window), *size), x.dtype)
    adjoint: Callable[..., Any] = jax.linear_transpose(
        lambda one: unfold(one, window, dilation, padding, stride), image
    )
    folded: jax.Array = adjoint(x)[0]
    return folded


def _blocks(
    x: jax.Array, data_format: str | None, turned: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """``turned`` of images with their channels behind, and back."""
    return (
        jnp.moveaxis(turned(jnp.moveaxis(x, 1, -1)), -1, 1) if data_format == FIRST else turned(x)
    )


@function("nn.DepthToSpace")
def depth_to_space(x: jax.Array, block_size: int, data_format: str = "channels_last") -> jax.Array:
    """Channels moved into blocks of places."""

    def turned(x: jax.Array) -> jax.Array:
        batch, height, width, depth = x.shape
        parts = x.reshape(batch, height, width, block_size, block_size, depth // block_size**2)
        return parts.transpose(0, 1, 3, 2, 4, 5).reshape(
            batch, height * block_size, width * block_size, -1
        )

    return _blocks(x, data_format, turned)


@function("nn.SpaceToDepth")
def space_to_depth(x: jax.Array, block_size: int, data_format: str = "channels_last") -> jax.Array:
    """Blocks of places moved into channels."""

    def turned(x: jax.Array) -> jax.Array:
        batch, height, width, depth = x.shape
        parts = x.reshape(
            batch, height // block_size, block_size, width // block_size, block_size, depth
        )
        return parts.transpose(0, 1, 3, 2, 4, 5).reshape(
            batch, height // block_size, width // block_size, -1
        )

    return _blocks(x, data_format, turned)
