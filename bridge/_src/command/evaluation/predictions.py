"""What a converted model says of samples, in pieces, and files of that."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import jax
import numpy as np

from bridge._src.command.data.samples import Data
from bridge._src.command.failure import CommandError
from bridge._src.description.graph import Named, Tensors
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.training.entering import Entrance
from lmjax._src.typing import PyTree

#: What separates columns in files of text, and files of arrays, by the ends of their names.
_SIGNS = {".csv": ",", ".tsv": "\t"}
_ARRAYS = (".npy", ".npz")
#: What the output of a model with one is called.
_ONLY = "prediction"


class Predictions(NamedTuple):
    """Outputs for one piece of the samples after the other.

    Attributes:
        names: what the outputs are called.
        pieces: for each piece of the samples an array (n, …) for each output.
    """

    names: tuple[str, ...]
    pieces: Iterator[list[np.ndarray]]


def predict(model: FlaxModel, data: Data, rows: int) -> Predictions:
    """What ``model`` says of the samples in ``data``, of so many ``rows`` at once.

    Raises:
        TypeError, ValueError: they do not fit the model, now or while the pieces are taken.
    """
    return Predictions(tuple(_names(model.module)), _pieces(model, data, rows))


def _pieces(model: FlaxModel, data: Data, rows: int) -> Iterator[list[np.ndarray]]:
    entrance = Entrance(model)
    for start in range(0, data.num_samples, rows):
        x = data.rows(slice(start, start + rows)).x
        x = entrance.inputs(x if isinstance(x, list) else np.asarray(x), first_row=start)
        taken = len(x[0] if isinstance(x, list) else x)
        if start:  # filled up, so that the last piece is not compiled for
            x = jax.tree.map(lambda part, wanted=rows: _filled(part, wanted), x)
        outputs = _arrays(model.apply(model.params, x), model.module.outputs)
        yield [np.asarray(output)[:taken] for output in outputs]


def _filled(array: np.ndarray, rows: int) -> np.ndarray:
    array = np.asarray(array)
    return np.concatenate([array, np.repeat(array[:1], rows - len(array), axis=0)])


def _names(module: KerasGraph) -> list[str]:
    """The names of the outputs: keys, where they come in a dictionary, else the layers that they
    come from, by which Keras knows them.
    """

    def found(structure: Tensors) -> Iterator[str]:
        if isinstance(structure, Named):
            for key, item in zip(structure.names, structure.items, strict=True):
                inner = list(found(item))
                yield from [key] if len(inner) == 1 else [f"{key}_{name}" for name in inner]
        elif isinstance(structure, tuple):
            for item in structure:
                yield from found(item)
        else:
            inputs, nodes = module.inputs, module.nodes
            at = structure.node
            yield nodes[at].layer if at >= 0 else inputs[structure.index or 0].name

    names = list(found(module.outputs))
    if len(names) == 1:
        return [_ONLY]
    return [
        name if names.count(name) == 1 else f"{name}_{names[:place].count(name)}"
        for place, name in enumerate(names)
    ]


def _arrays(outputs: PyTree, structure: Tensors) -> list[PyTree]:
    """The outputs in the order of :func:`_names`."""
    if isinstance(structure, Named):
        items = [
            (outputs[key], item) for key, item in zip(structure.names, structure.items, strict=True)
        ]
    elif isinstance(structure, tuple):
        items = list(zip(outputs, structure, strict=True))
    else:
        return [outputs]
    return [array for inner, item in items for array in _arrays(inner, item)]


def check_kind(path: Path, num_outputs: int) -> None:
    """Raises :class:`CommandError` where no predictions can be written to a file of such a name."""
    if path.suffix.lower() not in (*_SIGNS, *_ARRAYS):
        raise CommandError(
            f"{path}: the name of this output has to end in {', '.join((*_SIGNS, *_ARRAYS))}"
        )
    if path.suffix.lower() == ".npy" and num_outputs > 1:
        raise CommandError(
            f"{path}: the model has {num_outputs} outputs, and a .npy file holds one array; give a "
            "name that ends in .npz"
        )


def write(predictions: Predictions, file: IO[bytes], path: Path, targets: Sequence[str]) -> None:
    """Writes them to an open file, in the format of the name ``path``."""
    if path.suffix.lower() in _SIGNS:
        for text in table(predictions, targets, _SIGNS[path.suffix.lower()]):
            file.write(text.encode())
        return
    parts = list(predictions.pieces)
    arrays = [np.concatenate(part) for part in zip(*parts, strict=True)]
    if path.suffix.lower() == ".npy":
        np.save(file, arrays[0])
    else:
        with zipfile.ZipFile(file, "w") as archive:  # numpy.savez has arguments of its own names
            for name, array in zip(predictions.names, arrays, strict=True):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)


def table(
    predictions: Predictions, targets: Sequence[str] = (), delimiter: str = ","
) -> Iterator[str]:
    """The lines of a table, in pieces: a column for each number of the outputs; so many digits that
    they are read back the same.

    Args:
        predictions: the outputs.
        targets: what to call the columns, where there are as many.
        delimiter: what stands between columns.
    """
    for number, outputs in enumerate(predictions.pieces):
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        if number == 0:
            columns = _columns(predictions.names, outputs)
            writer.writerow(targets if len(targets) == len(columns) else columns)
        flat = [output.reshape(len(output), -1) for output in outputs]
        writer.writerows(
            [str(value) for part in row for value in part] for row in zip(*flat, strict=True)
        )
        yield text.getvalue()


def _columns(names: Sequence[str], outputs: Sequence[PyTree]) -> list[str]:
    columns = []
    for name, output in zip(names, outputs, strict=True):
        shape = output.shape[1:]
        places = list(np.ndindex(*shape))
        columns += (
            [name] if len(places) == 1 else ["_".join((name, *map(str, place))) for place in places]
        )
    return columns
