"""ConvLSTM1D, ConvLSTM2D, ConvLSTM3D."""

from __future__ import annotations

from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers

from bridge._src.layers import activations
from bridge._src.layers.activations import Activation
from bridge._src.layers.base import LayerConfig, Weight
from bridge._src.layers.convolutional.convolve import convolve
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.pieces import parts
from bridge._src.layers.registry import converts
from bridge._src.layers.rnn.recurrent import RNN
from bridge._src.layers.rnn.recurrent_cells import Cell, Recurrence, States


class ConvLSTMCell(Cell):
    """An LSTM cell whose products are convolutions (Shi et al., 2015), gates in the order i, f, c,
    o. States: h, c.

    Parameters: kernel (*window, channels, 4 · filters), recurrent_kernel (*window, filters, 4 ·
    filters), bias (4 · filters,). The recurrent convolution always keeps the size.
    """

    filters: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str = "valid"
    channels_first: bool = False
    activation: Activation = "tanh"
    recurrent_activation: Activation = "sigmoid"
    use_bias: bool = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore("dropout", "recurrent_dropout", "seed", "unit_forget_bias")
        kernel_size = tuple(config["kernel_size"])
        ones = (1,) * len(kernel_size)
        return cls(
            filters=config["filters"],
            kernel_size=kernel_size,
            strides=tuple(config.get("strides", ones)),
            dilation=tuple(config.get("dilation_rate", ones)),
            padding=config.require("padding", "valid", "same"),
            channels_first=config.get("data_format") == "channels_first",
            activation=activations.from_config(config.get("activation", "tanh")),
            recurrent_activation=activations.from_config(
                config.get("recurrent_activation", "sigmoid")
            ),
            use_bias=config.get("use_bias", True),
        )

    def weights(self) -> tuple[Weight, ...]:
        names = (
            ("kernel", "recurrent_kernel", "bias")
            if self.use_bias
            else ("kernel", "recurrent_kernel")
        )
        return tuple(Weight(name) for name in names)

    @nn.compact
    def recurrence(self, sequences: jax.Array) -> Recurrence:
        dtype, channel_axis = float_dtype(sequences), 1 if self.channels_first else -1
        batch, time, *image = sequences.shape
        flat = sequences.reshape(batch * time, *image)
        init, gates = initializers.glorot_uniform(), 4 * self.filters
        kernel = self.param(
            "kernel", init, (*self.kernel_size, flat.shape[channel_axis], gates), dtype
        )
        recurrent = self.param(
            "recurrent_kernel", init, (*self.kernel_size, self.filters, gates), dtype
        )
        options: dict[str, Any] = {"channels_first": self.channels_first}
        projected = convolve(
            flat,
            kernel,
            strides=self.strides,
            padding=self.padding.upper(),
            dilation=self.dilation,
            **options,
        )
        if self.use_bias:
            bias = self.param("bias", initializers.zeros, (gates,), dtype)
            projected += (
                bias.reshape(-1, *(1,) * len(self.kernel_size)) if self.channels_first else bias
            )
        inputs = jnp.moveaxis(projected.reshape(batch, time, *projected.shape[1:]), 1, 0)
        start = jnp.zeros_like(parts(inputs[0], 4, channel_axis)[0])
        activation = activations.as_function(self.activation, start)
        gate = activations.as_function(self.recurrent_activation, start)

        def step(x: jax.Array, states: States) -> States:
            h, c = states
            i, f, candidate, o = parts(
                x + convolve(h, recurrent, padding="SAME", **options), 4, channel_axis
            )
            c = gate(f) * c + gate(i) * activation(candidate)
            return gate(o) * activation(c), c

        return Recurrence(inputs, step, (start, start))


@converts("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
class ConvLSTM(RNN):
    """A :class:`ConvLSTMCell` run over the time axis of (batch, time, *spatial, channels)."""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(cell=ConvLSTMCell.from_config(config), **cls._options(config))
