"""The data of a fit: those to train on, and those to validate on, of the same columns."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bridge._src.command.data import data_files
from bridge._src.command.data.column_options import columns_of
from bridge._src.command.data.columns import Columns, listed
from bridge._src.command.data.samples import Data, split
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


def read_validation(
    path: Path, training: Data, columns: Columns, inputs: Sequence[InputSpec]
) -> Data:
    """The data to validate on, whose columns are found by the names of those that are trained
    on.
    """
    if training.features is not None:
        columns = columns._replace(features=training.features, ignore=())
    if path.suffix.lower() == ".parquet":  # how text is written is said of the other file
        columns = columns._replace(header=None, delimiter=None)
    return read_for(path, columns, inputs)


def read_both(
    options: argparse.Namespace, inputs: Sequence[InputSpec], command: str
) -> tuple[Data, Data | None]:
    """The data to train on and to validate on that ``command`` was given; says what is to be said
    of how they were read.
    """
    columns = columns_of(options)
    whole = read_for(options.data, columns, inputs)
    samples, validation = split(whole, options.validation_split, options.seed)
    if options.validation_data is not None:
        validation = read_validation(options.validation_data, whole, columns, inputs)
    for remark in whole.remarks:
        note(command, remark)
    return samples, validation


def check_one_reader(*paths: Path | None) -> None:
    """Raises :class:`CommandError` where two files are standard input."""
    if sum(path == STANDARD_INPUT for path in paths) > 1:
        raise CommandError("standard input can be one file of data only; name a file for the other")
