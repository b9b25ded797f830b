"""Recurrent layers: SimpleRNN, LSTM, GRU and RNN over a cell."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from jax import lax

from bridge._src.description.errors import LayerRefused
from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.layers.nested import convert
from bridge._src.layers.registry import converts
from bridge._src.layers.rnn.recurrent_cells import (
    Cell,
    GRUCell,
    LSTMCell,
    Recurrence,
    RecurrentCell,
    SimpleRNNCell,
    StackedRNNCells,
    States,
)
from lmjax._src.typing import Array, PyTree


def run(
    recurrence: Recurrence,
    mask: jax.Array | None,
    *,
    backwards: bool,
    sequences: bool,
    zero_masked: bool = False,
) -> tuple[jax.Array, States]:
    """Runs ``recurrence`` over time.

    Args:
        recurrence: What to run.
        mask: Boolean (batch, time); a masked step leaves the states as they were.
        backwards: From the last time step to the first.
        sequences: Whether to return the outputs of all time steps (time, batch, …), in order of
            time, or those of the step that ran last (batch, …).
        zero_masked: Whether masked outputs are 0 instead of the output that was kept.

    Returns:
        The outputs, and the states after the last step.
    """

    def step(states: States, x: PyTree) -> tuple[States, jax.Array | None]:
        inputs, kept = x
        new = recurrence.step(inputs, states)
        if kept is None:
            return new, new[0] if sequences else None
        keep = [kept.reshape(-1, *(1,) * (state.ndim - 1)) for state in new]
        new = tuple(
            jnp.where(k, after, before) for k, after, before in zip(keep, new, states, strict=True)
        )
        if not sequences:
            return new, None
        return new, jnp.where(keep[0], new[0], 0) if zero_masked else new[0]

    kept = None if mask is None else mask.astype(bool).T
    final, outputs = lax.scan(step, recurrence.start, (recurrence.inputs, kept), reverse=backwards)
    if sequences:
        return jnp.asarray(outputs), final
    if zero_masked and mask is not None:
        last = mask[:, 0 if backwards else -1].astype(bool)
        return jnp.where(last.reshape(-1, *(1,) * (final[0].ndim - 1)), final[0], 0), final
    return final[0], final


@converts("RNN")
class RNN(KerasLayer):
    """A cell run over the time axis of (batch, time, features).

    Outputs: (batch, units), or (batch, time, units) with ``return_sequences``; ``go_backwards``
    leaves them in reversed order of time, as Keras does. With ``return_state`` the last states
    follow. Called with other tensors than the sequences (the states to start from), it gets no
    mask, as in Keras.
    """

    arguments: ClassVar[tuple[str, ...]] = ("sequences", "initial_state", "mask")
    cell: Cell | StackedRNNCells
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    zero_output_for_mask: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        cell = convert(config["cell"])
        if not isinstance(cell, (Cell, StackedRNNCells)):
            raise LayerRefused(f"{type(cell).__name__} is not a recurrent cell")
        options = cls._options(config)
        if options["return_state"] and isinstance(cell, StackedRNNCells):
            raise LayerRefused("return_state=True: the states of stacked cells are nested lists")
        return cls(cell=cell, **options)

    @staticmethod
    def _options(config: LayerConfig) -> dict[str, Any]:
        config.ignore("unroll", "use_cudnn")
        config.require("time_major", False)
        if config.get("stateful"):
            raise LayerRefused(
                "stateful=True: the state that it keeps between calls is in no weight list"
            )
        names = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
        return {name: config.get(name, False) for name in names}

    def compute_mask(self, inputs: PyTree, mask: jax.Array | None) -> jax.Array | None:
        return mask if self.return_sequences else None

    def __call__(
        self, inputs: jax.Array, mask: jax.Array | None = None, initial_state: Array = None
    ) -> PyTree:
        states = None if initial_state is None else jax.tree.leaves(initial_state)
        if isinstance(self.cell, StackedRNNCells):
            # Over whole sequences, one cell after the other: at a masked step all of them keep
            # their states.
            *below, cell = self.cell.cells
            for lower in below:
                recurrence = _started(lower.recurrence(inputs), states)
                outputs, _ = run(recurrence, mask, backwards=self.go_backwards, sequences=True)
                inputs = jnp.moveaxis(outputs, 0, 1)
        else:
            cell = self.cell
        recurrence = _started(cell.recurrence(inputs), states)
        zero_masked = self.zero_output_for_mask
        outputs, final = run(
            recurrence,
            mask,
            backwards=self.go_backwards,
            sequences=self.return_sequences,
            zero_masked=zero_masked,
        )
        if self.return_sequences:
            outputs = jnp.moveaxis(outputs[::-1] if self.go_backwards else outputs, 0, 1)
        return (outputs, *final) if self.return_state else outputs


def _started(recurrence: Recurrence, states: list[jax.Array] | None) -> Recurrence:
    """``recurrence`` from the first of ``states``, which are taken out of the list, when there are
    any.
    """
    if states is None:
        return recurrence
    start = tuple(states.pop(0) for _ in recurrence.start)
    return recurrence._replace(start=start)


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
