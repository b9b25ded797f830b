"""The data of a fit: to train, to validate and to test on, of the same columns."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bridge._src.command.data import data_files
from bridge._src.command.data.column_options import columns_of
from bridge._src.command.data.columns import Columns, listed
from bridge._src.command.data.samples import Data, Sets, split
from bridge._src.command.data.text import STANDARD_INPUT, called
from bridge._src.command.failure import CommandError
from bridge._src.command.output import note
from bridge._src.description.graph import InputSpec


def read_for(path: Path, columns: Columns, inputs: Sequence[InputSpec]) -> Data:
    """The data in ``path`` for a model that takes ``inputs``; raises as :func:`data_files.read`,
    and where a table has another number of features.
    """
    names = tuple(spec.name for spec in inputs) if len(inputs) > 1 else ("x",)
    data = data_files.read(path, columns, names)
    if data.features is not None:
        _check_width(called(path), data.features, inputs[0])
    return data


def _check_width(file: str, features: Sequence[str], spec: InputSpec) -> None:
    if len(spec.shape) > 1:
        raise CommandError(
            f"{file}: the model's input {spec.name!r} has shape (batch, "
            f"{', '.join('any' if size is None else str(size) for size in spec.shape)}), which a "
            "table does not have; write a .npz file with arrays x and y"
        )
    width = spec.shape[0] if spec.shape else 1
    if width is not None and width != len(features):
        raise CommandError(
            f"{file}: the model's input {spec.name!r} has shape (batch, {width}), and there are "
            f"{len(features)} columns to predict from: {listed(features)}; choose them with "
            "--features, or leave some out with --ignore"
        )


def _read_beside(path: Path, training: Data, columns: Columns, inputs: Sequence[InputSpec]) -> Data:
    """Data to validate or to test on, whose columns are found by the names of those that are
    trained on.
    """
    if training.features is not None:
        columns = columns._replace(features=training.features, ignore=())
    if path.suffix.lower() == ".parquet":  # how text is written is said of the other file
        columns = columns._replace(header=None, delimiter=None)
    return read_for(path, columns, inputs)


def read_sets(options: argparse.Namespace, inputs: Sequence[InputSpec], command: str) -> Sets:
    """The data to train, to validate and to test on that ``command`` was given; says what is to be
    said of how they were read.
    """
    columns = columns_of(options)
    whole = read_for(options.data, columns, inputs)
    test_split, test_data = (getattr(options, name, None) for name in ("test_split", "test_data"))
    sets = split(whole, options.seed, options.validation_split, test_split or 0.0)
    for name, file in (("validation", options.validation_data), ("test", test_data)):
        if file is not None:
            sets = sets._replace(**{name: _read_beside(file, whole, columns, inputs)})
    for remark in whole.remarks:
        note(command, remark)
    return sets


def check_one_reader(*paths: Path | None) -> None:
    """Raises :class:`CommandError` where two files are standard input."""
    if sum(path == STANDARD_INPUT for path in paths) > 1:
        raise CommandError("standard input can be one file of data only; name a file for the other")
