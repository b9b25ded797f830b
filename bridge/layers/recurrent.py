"""Recurrent layers: SimpleRNN, LSTM, GRU and RNN over a cell."""

from __future__ import annotations

from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import lax

from bridge.layers.base import KerasLayer, LayerConfig
from bridge.layers.nested import convert
from bridge.layers.recurrent_cells import GRUCell, LSTMCell, Recurrence, RecurrentCell, SimpleRNNCell, States
from bridge.registry import LayerRefused, converts


def run(recurrence: Recurrence, mask: jax.Array | None, *, backwards: bool, sequences: bool, zero_masked: bool = False) -> jax.Array:
    """Runs ``recurrence`` over time.

    Args:
        recurrence: What to run.
        mask: Boolean (batch, time); a masked step leaves the states as they were.
        backwards: From the last time step to the first.
        sequences: Whether to return the outputs of all time steps (time, batch, …), in order of time, or those of
            the step that ran last (batch, …).
        zero_masked: Whether masked outputs are 0 instead of the state that was kept.
    """

    def step(states: States, x: Any) -> tuple[States, jax.Array | None]:
        inputs, kept = x
        new = recurrence.step(inputs, states)
        if kept is None:
            return new, new[0] if sequences else None
        keep = [kept.reshape(-1, *(1,) * (state.ndim - 1)) for state in new]
        new = tuple(jnp.where(k, after, before) for k, after, before in zip(keep, new, states, strict=True))
        if not sequences:
            return new, None
        return new, jnp.where(keep[0], new[0], 0) if zero_masked else new[0]

    kept = None if mask is None else mask.astype(bool).T
    final, outputs = lax.scan(step, recurrence.start, (recurrence.inputs, kept), reverse=backwards)
    if sequences:
        return jnp.asarray(outputs)
    if zero_masked and mask is not None:
        last = mask[:, 0 if backwards else -1].astype(bool)
        return jnp.where(last.reshape(-1, *(1,) * (final[0].ndim - 1)), final[0], 0)
    return final[0]


@converts("RNN")
class RNN(KerasLayer):
    """A cell run over the time axis of (batch, time, features).

    Outputs: (batch, units), or (batch, time, units) with ``return_sequences``; ``go_backwards`` leaves them in
    reversed order of time, as Keras does.
    """

    cell: RecurrentCell
    return_sequences: bool = False
    go_backwards: bool = False
    zero_output_for_mask: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        cell = convert(config["cell"])
        if not isinstance(cell, RecurrentCell):
            raise LayerRefused(f"{type(cell).__name__} is not a recurrent cell")
        return cls(cell=cell, **cls._options(config))

    @staticmethod
    def _options(config: LayerConfig) -> dict[str, Any]:
        config.ignore("unroll", "use_cudnn")
        config.require("time_major", False)
        if config.get("stateful"):
            raise LayerRefused("stateful=True: the state that it keeps between calls is in no weight list")
        if config.get("return_state"):
            raise LayerRefused("return_state=True: only the first of several outputs could go on to the next layer")
        names = ("return_sequences", "go_backwards", "zero_output_for_mask")
        return {name: config.get(name, False) for name in names}

    def compute_mask(self, inputs: Any, mask: jax.Array | None) -> jax.Array | None:
        return mask if self.return_sequences else None

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        outputs = run(
            self.cell.recurrence(inputs),
            mask,
            backwards=self.go_backwards,
            sequences=self.return_sequences,
            zero_masked=self.zero_output_for_mask,
        )
        if not self.return_sequences:
            return outputs
        return jnp.moveaxis(outputs[::-1] if self.go_backwards else outputs, 0, 1)


class _WithOwnCell(RNN):
    """An RNN whose config holds the options of its cell among its own."""

    @classmethod
    def _cell_class(cls) -> type[RecurrentCell]:
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(cell=cls._cell_class().from_config(config), **cls._options(config))


@converts("SimpleRNN")
class SimpleRNN(_WithOwnCell):
    """An RNN over a :class:`SimpleRNNCell`."""

    @classmethod
    def _cell_class(cls) -> type[RecurrentCell]:
        return SimpleRNNCell


@converts("LSTM")
class LSTM(_WithOwnCell):
    """An RNN over an :class:`LSTMCell`."""

    @classmethod
    def _cell_class(cls) -> type[RecurrentCell]:
        return LSTMCell


@converts("GRU")
class GRU(_WithOwnCell):
    """An RNN over a :class:`GRUCell`."""

    @classmethod
    def _cell_class(cls) -> type[RecurrentCell]:
        return GRUCell
