"""Data on their way into a fit of a converted model: in the dtypes of its inputs, with indices that
its tables have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.description.graph import InputSpec
from bridge._src.description.inputs import in_order, prepare
from bridge._src.description.weights import merge
from bridge._src.layers.base import KerasLayer
from bridge._src.layers.numerics import INDICES
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.module.renaming import for_flax, to_names
from lmjax._src.arrays.numbers import quantities, real_array
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.precision import scope
from lmjax._src.training.data import Data, Streamed
from lmjax._src.training.streaming.sources import Piece, Source
from lmjax._src.typing import Array, PyTree

#: Rows whose indices are computed at once; fewer are filled up to a power of two, so that few
#: programs are compiled.
_ROWS = 4096


class Entrance:
    """The way of data into the fit of a model.

    Args:
        model: the model.
    """

    def __init__(self, model: FlaxModel) -> None:
        self._model = model
        self._weights = merge(model.params, model.state) if _takes_indices(model.module) else None

    def inputs(self, x: PyTree, name: str = "x", first_row: int = 0) -> PyTree:
        """``x`` in the order of the model's inputs, those that it takes as floating-point numbers
        in its precision.

        Raises:
            TypeError: an input holds something else than numbers.
            ValueError: inputs are missing, do not fit in the precision, or hold an index that a
                layer's table does not have; the message names the layer, the index and its row,
                counted from ``first_row``.
        """
        specs = self._model.module.inputs
        ordered = in_order(x, specs)
        arrays = [
            self._entered(*one, name)
            for one in zip([ordered] if len(specs) == 1 else ordered, specs, strict=True)
        ]
        if self._weights is not None:
            self._check_indices(arrays, name, first_row)
        return arrays if isinstance(ordered, list) else arrays[0]

    def data(self, given: Data) -> Data:
        """Data whose inputs have entered; those that are streamed do so piece by piece."""
        name = given.names[0]
        if isinstance(given, Streamed):
            return given._replace(source=EnteringSource(given.source, self, name))
        return given._replace(x=self.inputs(given.x, name))

    def _entered(self, array: Array, spec: InputSpec, name: str) -> Array:
        called = name if len(self._model.module.inputs) == 1 else f"{name}: input {spec.name!r}"
        return (
            quantities(array, called, self._model.dtype)
            if "float" in spec.dtype
            else real_array(array, called)
        )

    def _check_indices(self, arrays: list[Array], name: str, first_row: int) -> None:
        lengths = {array.shape[0] if array.ndim else 0 for array in arrays}
        if len(lengths) > 1:
            return  # which is refused for itself
        (count,) = lengths
        for start in range(0, count, _ROWS):
            rows = min(_ROWS, count - start)
            block = [_filled(np.asarray(array[start : start + rows])) for array in arrays]
            with scope(self._model.dtype):
                prepared = prepare(
                    block if len(block) > 1 else block[0],
                    self._model.module.inputs,
                    self._model.dtype,
                )
                used = _indices(self._model.module, self._weights, prepared)
            for path, values in jax.tree_util.tree_flatten_with_path(used)[0]:
                layer = "/".join(
                    str(key.key)
                    for key in path
                    if isinstance(key, jax.tree_util.DictKey) and key.key != "used"
                )
                _check(
                    np.asarray(values), layer, len(block[0]), rows, f"{name}: ", first_row + start
                )


def _check(used: np.ndarray, layer: str, filled: int, rows: int, name: str, first_row: int) -> None:
    """``used`` are lowest and highest indices for each of ``filled`` rows (or a multiple), and the
    number of rows of the table.
    """
    low, high, size = used[0], used[1], int(used[2, 0])
    wrong = np.flatnonzero((low < 0) | (high >= size))
    if wrong.size:
        place = int(wrong[0])
        index = int(low[place]) if low[place] < 0 else int(high[place])
        row = min(place // max(len(low) // filled, 1), rows - 1)
        raise ValueError(
            f"{name}layer {layer!r} has {size} rows, for indices from 0 to {size - 1}, and "
            f"gets index {index} in row {first_row + row}; give it more rows (input_dim), or "
            "mend the data"
        )


@dataclass(frozen=True)
class EnteringSource:
    """A source whose inputs have entered.

    Attributes:
        source: the source.
        entrance: the way in.
        name: what its inputs are called in messages.
    """

    source: Source
    entrance: Entrance
    name: str

    def pieces(self) -> Iterator[Piece]:
        """See :class:`lmjax._src.training.streaming.sources.Source`."""
        start = 0
        for x, y, sample_weight in self.source.pieces():
            yield self.entrance.inputs(x, self.name, start), y, sample_weight
            start += len(y)


def _takes_indices(layer: KerasLayer) -> bool:
    return layer.takes_indices() or any(
        _takes_indices(child) for child in layer.children().values()
    )


def _filled(array: np.ndarray) -> np.ndarray:
    wanted = 1 << max(len(array) - 1, 0).bit_length()
    return np.concatenate(
        [array, np.broadcast_to(array[:1], (wanted - len(array), *array.shape[1:]))]
    )


def _seen(module: KerasGraph, weights: PyTree, inputs: tuple[Array, ...]) -> PyTree:
    """The indices alone are returned, so that the compiler leaves out whatever they do not depend
    on.
    """
    applied, weights = for_flax(module, weights)
    seen = applied.apply({"params": jax.tree.map(jnp.asarray, weights)}, inputs, mutable=[INDICES])[
        1
    ].get(INDICES, {})
    return seen if applied is module else to_names(seen, module)


_indices = recent(static_argnums=(0,))(_seen)
