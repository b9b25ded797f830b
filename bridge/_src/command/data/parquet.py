"""Training data from a Parquet file, by PyArrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bridge._src.command.data.columns import Columns, Roles, roles
from bridge._src.command.data.expansion import check_expansion
from bridge._src.command.data.table import Table, table_of
from bridge._src.command.data.text import called, opened
from bridge._src.command.failure import CommandError
from lmjax._src.runtime.optional import needed

#: Under such a name pandas writes an index that has none.
_INDEX = "__index_level_"


def read_parquet(path: Path, columns: Columns) -> Table:
    """The table in ``path``.

    Args:
        path: the file.
        columns: which are what.

    Raises:
        CommandError: when the file is damaged, lacks a column, or holds anything but finite numbers
            in one that is read.
        NotInstalledError: PyArrow is not there.
    """
    if columns.header is not None or columns.delimiter is not None:
        raise CommandError(
            f"{path}: --header, --no-header and --delimiter are for text; a .parquet file says "
            "itself how it is written"
        )
    needed("pyarrow", "parquet", "a .parquet file")
    import pyarrow.parquet as parquet

    file = called(path)
    with opened(path) as binary:
        try:
            source = parquet.ParquetFile(binary)
        except (OSError, ValueError) as error:  # as those of Arrow are
            raise CommandError(f"{file}: is no whole Parquet file ({error})") from None
        # An index is what it was in the frame: no column.
        indices = [name for name in source.schema_arrow.names if name.startswith(_INDEX)]
        names = [name for name in source.schema_arrow.names if name not in indices]
        found = roles(file, names, columns, has_header=True)
        chosen = [names[place] for place in found.used]
        rows = source.metadata.num_rows
        check_expansion(file, path, rows * len(chosen) * np.dtype(float).itemsize)
        read = source.read(columns=chosen)
        matrix = np.empty((rows, len(chosen)))
        for place, name in enumerate(chosen):
            matrix[:, place] = _numbers(file, name, read.column(name))
    _check_weights(file, names, found, matrix)
    return table_of(file, matrix, names, found)


def _numbers(file: str, name: str, column: Any) -> np.ndarray:
    """A column as float64 numbers."""
    from pyarrow import types

    kind = column.type
    if not (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
    ):
        raise CommandError(
            f"{file}: column {name} holds {kind} values; expected numbers: leave it out with "
            "--ignore, or put one column of 0 and 1 for each category in its place"
        )
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise CommandError(
            f"{file}: row {row}, counted from 0, column {name}: is null; fill it or remove the row"
        )
    numbers: np.ndarray = column.to_numpy().astype(float)
    if not (finite := np.isfinite(numbers)).all():
        row = int(np.argmin(finite))
        raise CommandError(
            f"{file}: row {row}, counted from 0, column {name}: {numbers[row]} is not finite; fill "
            "it or remove the row"
        )
    return numbers


def _check_weights(file: str, names: list[str], found: Roles, matrix: np.ndarray) -> None:
    if found.sample_weight is not None and (negative := matrix[:, -1] < 0).any():
        row = int(np.argmax(negative))
        raise CommandError(
            f"{file}: row {row}, counted from 0, column {names[found.sample_weight]}: "
            f"{matrix[row, -1]} is no weight of a sample, below 0"
        )
