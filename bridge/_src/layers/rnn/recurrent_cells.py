"""Recurrent cells: SimpleRNNCell, LSTMCell, GRUCell.

A cell turns a sequence into a :class:`Recurrence`: what depends on the inputs alone is computed for
all time steps in one product before the loop, and the loop (``lax.scan``) only does what depends on
the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers
from jax.typing import DTypeLike

from bridge._src.description.errors import LayerRefused
from bridge._src.layers import activations
from bridge._src.layers.activations import Activation
from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.nested import convert
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.pieces import parts
from bridge._src.layers.registry import converts
from lmjax._src.typing import PyTree

#: The states of a cell; the first is its output.
States = tuple[jax.Array, ...]


class Recurrence(NamedTuple):
    """A recurrence that is ready to run over time.

    Attributes:
        inputs: What each step receives; leaves (time, batch, …).
        step: ``(input, states) -> states`` for one time step, a pure function.
        start: The states before the first step, zeros (batch, …).
    """

    inputs: PyTree
    step: Callable[[Any, States], States]
    start: States


class Cell(KerasLayer):
    """What a recurrent layer runs over time."""

    def recurrence(self, sequences: jax.Array) -> Recurrence:
        """The recurrence over ``sequences`` (batch, time, …)."""
        raise NotImplementedError(f"{type(self).__name__}.recurrence")


class RecurrentCell(Cell):
    """A cell with ``units`` outputs.

    Parameters: kernel (inputs, gates · units), recurrent_kernel (units, gates · units), bias.
    """

    units: int
    activation: Activation = "tanh"
    use_bias: bool = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(**cls._options(config))

    @classmethod
    def _options(cls, config: LayerConfig) -> dict[str, Any]:
        config.ignore("dropout", "recurrent_dropout", "seed", "implementation", "unit_forget_bias")
        return {
            "units": config["units"],
            "activation": activations.from_config(config.get("activation", "tanh")),
            "use_bias": config.get("use_bias", True),
        }

    def weights(self) -> tuple[Weight, ...]:
        names = (
            ("kernel", "recurrent_kernel", "bias")
            if self.use_bias
            else ("kernel", "recurrent_kernel")
        )
        return tuple(Weight(name) for name in names)

    def _kernels(self, sequences: jax.Array, gates: int) -> tuple[jax.Array, jax.Array]:
        dtype = float_dtype(sequences)
        kernel = self.param(
            "kernel",
            initializers.glorot_uniform(),
            (sequences.shape[-1], gates * self.units),
            dtype,
        )
        recurrent = self.param(
            "recurrent_kernel", initializers.orthogonal(), (self.units, gates * self.units), dtype
        )
        return kernel, recurrent

    def _project(
        self, sequences: jax.Array, kernel: jax.Array, bias: jax.Array | None
    ) -> jax.Array:
        """inputs @ kernel + bias for all time steps at once, (time, batch, gates · units)."""
        projected = jnp.einsum("bti,ij->tbj", sequences, kernel)
        return projected if bias is None else projected + bias

    def _zeros(self, projected: jax.Array) -> jax.Array:
        return jnp.zeros((projected.shape[1], self.units), projected.dtype)


@converts("SimpleRNNCell")
class SimpleRNNCell(RecurrentCell):
    """h' = activation(x K + h R + b)."""

    @nn.compact
    def recurrence(self, sequences: jax.Array) -> Recurrence:
        kernel, recurrent = self._kernels(sequences, 1)
        bias = (
            self.param("bias", initializers.zeros, (self.units,), float_dtype(sequences))
            if self.use_bias
            else None
        )
        projected = self._project(sequences, kernel, bias)
        start = self._zeros(projected)
        activation = activations.as_function(self.activation, start)

        def step(x: jax.Array, states: States) -> States:
            (h,) = states
            return (activation(x + h @ recurrent),)

        return Recurrence(projected, step, (start,))


class GatedCell(RecurrentCell):
    """A cell whose gates have an activation of their own."""

    recurrent_activation: Activation = "sigmoid"

    @classmethod
    def _options(cls, config: LayerConfig) -> dict[str, Any]:
        gates = activations.from_config(config.get("recurrent_activation", "sigmoid"))
        return super()._options(config) | {"recurrent_activation": gates}


@converts("LSTMCell")
class LSTMCell(GatedCell):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997), gates in the order i, f, c, o.
    States: h, c.
    """

    def _bias(self, key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
        # The forget gate starts open.
        return jnp.zeros(shape, dtype).at[self.units : 2 * self.units].set(1)

    @nn.compact
    def recurrence(self, sequences: jax.Array) -> Recurrence:
        kernel, recurrent = self._kernels(sequences, 4)
        bias = (
            self.param("bias", self._bias, (4 * self.units,), float_dtype(sequences))
            if self.use_bias
            else None
        )
        projected = self._project(sequences, kernel, bias)
        start = self._zeros(projected)
        activation = activations.as_function(self.activation, start)
        gate = activations.as_function(self.recurrent_activation, start)

        def step(x: jax.Array, states: States) -> States:
            h, c = states
            i, f, candidate, o = parts(x + h @ recurrent, 4)
            c = gate(f) * c + gate(i) * activation(candidate)
            return gate(o) * activation(c), c

        return Recurrence(projected, step, (start, start))


@converts("GRUCell")
class GRUCell(GatedCell):
    """Gated recurrent unit (Cho et al., 2014), gates in the order z, r, h.

    With ``reset_after`` the reset gate acts after the recurrent product and the bias is (2, 3 ·
    units), the second row for the recurrent part; otherwise it is (3 · units,).
    """

    reset_after: bool = True

    @classmethod
    def _options(cls, config: LayerConfig) -> dict[str, Any]:
        return super()._options(config) | {"reset_after": config.get("reset_after", True)}

    @nn.compact
    def recurrence(self, sequences: jax.Array) -> Recurrence:
        units = self.units
        kernel, recurrent = self._kernels(sequences, 3)
        bias = recurrent_bias = None
        if self.use_bias:
            shape = (2, 3 * units) if self.reset_after else (3 * units,)
            bias = self.param("bias", initializers.zeros, shape, float_dtype(sequences))
            if self.reset_after:
                bias, recurrent_bias = bias
        projected = self._project(sequences, kernel, bias)
        start = self._zeros(projected)
        activation = activations.as_function(self.activation, start)
        gate = activations.as_function(self.recurrent_activation, start)

        def step_after(x: jax.Array, states: States) -> States:
            (h,) = states
            inner = h @ recurrent if recurrent_bias is None else h @ recurrent + recurrent_bias
            (x_z, x_r, x_h), (inner_z, inner_r, inner_h) = parts(x, 3), parts(inner, 3)
            z, r = gate(x_z + inner_z), gate(x_r + inner_r)
            return (z * h + (1 - z) * activation(x_h + r * inner_h),)

        def step_before(x: jax.Array, states: States) -> States:
            (h,) = states
            (x_z, x_r, x_h), (inner_z, inner_r) = (
                parts(x, 3),
                parts(h @ recurrent[:, : 2 * units], 2),
            )
            z, r = gate(x_z + inner_z), gate(x_r + inner_r)
            return (z * h + (1 - z) * activation(x_h + (r * h) @ recurrent[:, 2 * units :]),)

        return Recurrence(projected, step_after if self.reset_after else step_before, (start,))


@converts("StackedRNNCells")
class StackedRNNCells(KerasLayer):
    """Cells one on the other, each of which gets the output of the one below."""

    cells: tuple[Cell, ...]

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        serialized = config["cells"]
        cells = tuple(cell for cell in map(convert, serialized) if isinstance(cell, Cell))
        if len(cells) != len(serialized):
            raise LayerRefused("it stacks something that is not a recurrent cell")
        return cls(cells=cells)
