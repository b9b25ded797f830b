"""Convolutions in one, two and three dimensions: plain, transposed, depthwise, separable. All drop
the mask.
"""

from __future__ import annotations

import math
from typing import Any, Self

import flax.linen as nn
import jax
from jax import lax
from jax.nn import initializers

from bridge._src.layers import activations
from bridge._src.layers.activations import Activation
from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.convolutional.convolve import convolve
from bridge._src.layers.lora import Adapter, adapted, adapter_of, adapter_weights
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.registry import converts
from lmjax._src.layerwise.patches import Padding
from lmjax._src.typing import PyTree


class Convolution(KerasLayer):
    """Options shared by all convolutions, and what follows the convolution itself: bias and
    activation.
    """

    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str = "valid"
    channels_first: bool = False
    use_bias: bool = True
    activation: Activation = activations.LINEAR

    @staticmethod
    def _options(config: LayerConfig) -> dict[str, Any]:
        kernel_size = tuple(config["kernel_size"])
        ones = (1,) * len(kernel_size)
        return {
            "kernel_size": kernel_size,
            "strides": tuple(config.get("strides", ones)),
            "dilation": tuple(config.get("dilation_rate", ones)),
            "padding": config.require("padding", "valid", "same", "causal"),
            "channels_first": config.get("data_format") == "channels_first",
            "use_bias": config.get("use_bias", True),
            "activation": activations.from_config(config.get("activation")),
        }

    def _kernel_weights(self) -> tuple[str, ...]:
        return ("kernel",)

    def weights(self) -> tuple[Weight, ...]:
        names = (*self._kernel_weights(), "bias") if self.use_bias else self._kernel_weights()
        return tuple(Weight(name) for name in names)

    def compute_mask(self, inputs: PyTree, mask: jax.Array | None) -> None:
        return None

    def _channels(self, inputs: jax.Array) -> int:
        return inputs.shape[1 if self.channels_first else -1]

    def _lax_padding(self) -> Padding:
        if self.padding == "causal":
            return [
                ((size - 1) * dilation, 0)
                for size, dilation in zip(self.kernel_size, self.dilation, strict=True)
            ]
        return self.padding.upper()

    def _depthwise(self, inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        """Each channel with its own filters; kernel (*window, channels, multiplier)."""
        *window, channels, multiplier = kernel.shape
        return convolve(
            inputs,
            kernel.reshape(*window, 1, channels * multiplier),
            strides=self.strides,
            padding=self._lax_padding(),
            dilation=self.dilation,
            groups=channels,
            channels_first=self.channels_first,
        )

    def _finish(self, outputs: jax.Array) -> jax.Array:
        """Bias and activation; called once, from the compact ``__call__``."""
        if self.use_bias:
            # Along the channels always. Keras 3 on TensorFlow takes the last axis for the channels
            # when a channels_first output happens to have as many columns as filters (keras.ops.add
            # turns into tf.nn.bias_add).
            bias = self.param(
                "bias", initializers.zeros, (self._channels(outputs),), float_dtype(outputs)
            )
            outputs += (
                bias.reshape(-1, *(1,) * len(self.kernel_size)) if self.channels_first else bias
            )
        return activations.apply(self.activation, outputs)


@converts("Conv1D", "Conv2D", "Conv3D")
class Conv(Convolution):
    """Convolution. Parameters: kernel (*window, channels / groups, filters), bias (filters,)."""

    filters: int = 1
    groups: int = 1
    adapter: Adapter | None = None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(
            filters=config["filters"],
            groups=config.get("groups", 1),
            adapter=adapter_of(config),
            **cls._options(config),
        )

    def weights(self) -> tuple[Weight, ...]:
        return (*super().weights(), *adapter_weights(self.adapter, "kernel"))

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        shape = (*self.kernel_size, self._channels(inputs) // self.groups, self.filters)
        kernel = self.param("kernel", initializers.glorot_uniform(), shape, float_dtype(inputs))
        outputs = convolve(
            inputs,
            adapted(self, self.adapter, "kernel", kernel),
            strides=self.strides,
            padding=self._lax_padding(),
            dilation=self.dilation,
            groups=self.groups,
            channels_first=self.channels_first,
        )
        return self._finish(outputs)


@converts("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
class ConvTranspose(Convolution):
    """Transposed convolution. Parameters: kernel (*window, filters, channels), bias (filters,)."""

    filters: int = 1
    output_padding: tuple[int, ...] | None = None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        output_padding = config.get("output_padding")
        return cls(
            filters=config["filters"],
            output_padding=None if output_padding is None else tuple(output_padding),
            **cls._options(config),
        )

    def _margins(self, axis: int) -> tuple[int, int]:
        """Padding of the stride-dilated inputs along one spatial axis that gives Keras' output size
        and alignment.
        """
        size = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
        stride = self.strides[axis]
        extra = None if self.output_padding is None else self.output_padding[axis]
        if self.padding == "valid":
            return size - 1, size - 1 + (max(size, stride) - size if extra is None else extra)
        total = stride + size - 2 if extra is None else size - 2 + size % 2 + extra
        before = min(math.ceil(total / 2), size - 1)
        return before, total - before

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        shape = (*self.kernel_size, self.filters, self._channels(inputs))
        kernel = self.param("kernel", initializers.glorot_uniform(), shape, float_dtype(inputs))
        rank = len(self.kernel_size)
        outputs = convolve(
            inputs,
            lax.rev(kernel, range(rank)),
            padding=[self._margins(axis) for axis in range(rank)],
            input_dilation=self.strides,
            dilation=self.dilation,
            channels_first=self.channels_first,
            kernel_channels="OI",
        )
        return self._finish(outputs)


@converts("DepthwiseConv1D", "DepthwiseConv2D")
class DepthwiseConv(Convolution):
    """Each channel convolved alone.

    Parameters: kernel (*window, channels, multiplier), bias (channels · multiplier,).
    """

    depth_multiplier: int = 1

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(depth_multiplier=config.get("depth_multiplier", 1), **cls._options(config))

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        shape = (*self.kernel_size, self._channels(inputs), self.depth_multiplier)
        kernel = self.param("kernel", initializers.glorot_uniform(), shape, float_dtype(inputs))
        return self._finish(self._depthwise(inputs, kernel))


@converts("SeparableConv1D", "SeparableConv2D")
class SeparableConv(Convolution):
    """A depthwise convolution, then a 1×1 convolution.

    Parameters: depthwise_kernel (*window, channels, multiplier), pointwise_kernel (1…, channels ·
    multiplier, filters), bias (filters,).
    """

    filters: int = 1
    depth_multiplier: int = 1

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(
            filters=config["filters"],
            depth_multiplier=config.get("depth_multiplier", 1),
            **cls._options(config),
        )

    def _kernel_weights(self) -> tuple[str, ...]:
        return ("depthwise_kernel", "pointwise_kernel")

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        channels, dtype = self._channels(inputs), float_dtype(inputs)
        init = initializers.glorot_uniform()
        depthwise = self.param(
            "depthwise_kernel", init, (*self.kernel_size, channels, self.depth_multiplier), dtype
        )
        ones = (1,) * len(self.kernel_size)
        pointwise = self.param(
            "pointwise_kernel", init, (*ones, channels * self.depth_multiplier, self.filters), dtype
        )
        return self._finish(
            convolve(
                self._depthwise(inputs, depthwise), pointwise, channels_first=self.channels_first
            )
        )
