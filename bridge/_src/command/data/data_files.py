"""Training data from arrays or a table in a file, checked before anything else happens, or on disk,
to be streamed.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bridge._src.command.data.columns import Columns
from bridge._src.command.data.expansion import check_expansion
from bridge._src.command.data.hdf5_files import open_datasets
from bridge._src.command.data.parquet import read_parquet
from bridge._src.command.data.samples import Data
from bridge._src.command.data.table import Table, read_table
from bridge._src.command.data.text import STANDARD_INPUT, called, check_regular
from bridge._src.command.failure import CommandError
from lmjax._src.runtime.optional import NotInstalledError
from lmjax._src.typing import PyTree

#: An end of zeros that is as long as a page of memory was rather not written than measured.
_PAGE = 4096
_TABLES: dict[str, Callable[[Path, Columns], Table]] = {
    ".csv": read_table,
    ".tsv": read_table,
    ".csv.gz": read_table,
    ".tsv.gz": read_table,
    ".parquet": read_parquet,
}


def read(path: Path, columns: Columns | None = None, inputs: Sequence[str] = ("x",)) -> Data:
    """The data in ``path``.

    Args:
        path: a file of arrays or with a table, a folder, or - for a table from standard input.
        columns: which columns of a table are what; of other files, the name of the weights, and
            whether there have to be targets.
        inputs: the names of the model's inputs if it has several; a .npz file has an array for
            each.

    Raises:
        CommandError: when the file is missing or damaged, lacks a column, or holds anything but
            finite numbers.
    """
    columns = columns or Columns()
    reader = _table_reader(path)
    if len(inputs) > 1 and path.suffix.lower() != ".npz":
        *names, last = (*inputs, *_targets(columns))
        raise CommandError(
            f"{called(path)}: the model has {len(inputs)} inputs; expected a .npz file with "
            f"arrays {', '.join(names)} and {last}"
        )
    try:
        check_regular(path)
        data = (
            _read_arrays(path, columns, inputs)
            if reader is None
            else _of_table(reader(path, columns), columns)
        )
        if data.streamed and data.y is not None:
            _check_end(path, data.x, data.y)
    except FileNotFoundError:
        raise CommandError(f"{path}: no such file") from None
    except (CommandError, NotInstalledError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise CommandError(f"{called(path)}: cannot be read ({reason})") from error
    _check_lengths(path, data, inputs)
    return data


def _table_reader(path: Path) -> Callable[[Path, Columns], Table] | None:
    if path == STANDARD_INPUT:
        return read_table
    if path.is_dir():
        return None
    name = path.name.lower()
    return next((reader for end, reader in _TABLES.items() if name.endswith(end)), None)


def _of_table(table: Table, columns: Columns) -> Data:
    return Data(
        table.x,
        table.y if columns.has_targets else None,
        table.features,
        table.targets,
        sample_weight=table.sample_weight,
        remarks=table.remarks,
    )


def _targets(columns: Columns) -> tuple[str, ...]:
    weight = () if columns.sample_weight is None else (columns.sample_weight,)
    return ("y",) * columns.has_targets + weight


def _read_arrays(path: Path, columns: Columns, inputs: Sequence[str]) -> Data:
    kinds: dict[str, Callable[[Path, Sequence[str]], list[np.ndarray]]] = {
        ".npz": _read_npz,
        ".h5": open_datasets,
        ".hdf5": open_datasets,
    }
    reader = _open_folder if path.is_dir() else kinds.get(path.suffix.lower())
    if reader is None:
        raise CommandError(
            f"{path}: expected a .npz file (arrays x and y), a table ({', '.join(_TABLES)}; with "
            "--target COLUMN), or, to be streamed, an .h5 file (datasets x and y) or a folder "
            "(x.npy and y.npy)"
        )
    if columns.given():
        raise CommandError(
            f"{path}: {' and '.join(columns.given())}: for columns of a table; of arrays the "
            "target is y, and all others are inputs"
        )
    names = (*inputs, *_targets(columns))
    found = dict(zip(names, reader(path, names), strict=True))
    x = [found[name] for name in inputs]
    return Data(
        x if len(inputs) > 1 else x[0],
        found.get("y"),
        streamed=reader is not _read_npz,
        sample_weight=None if columns.sample_weight is None else found[columns.sample_weight],
    )


def _check_lengths(path: Path, data: Data, inputs: Sequence[str]) -> None:
    parts = dict(zip(inputs, data.x if isinstance(data.x, list) else [data.x], strict=True))
    for name, part in (("y", data.y), ("the weights", data.sample_weight)):
        if part is not None:
            parts[name] = part
    (first, samples), *others = ((name, len(part)) for name, part in parts.items())
    for name, count in others:
        if count != samples:
            raise CommandError(
                f"{path}: {first} has {samples} samples and {name} has {count}; both "
                "need the same number along their first axis"
            )
    if samples == 0:
        raise CommandError(f"{called(path)}: holds no samples")


def _check_end(path: Path, x: PyTree, y: PyTree) -> None:
    """Refuses arrays on disk that end in zeros: where room was made for all rows, those that were
    never written read so.
    """
    row_bytes = sum(part.dtype.itemsize * math.prod(part.shape[1:]) for part in (x, y))
    rows = -(-_PAGE // max(row_bytes, 1))
    if rows <= len(y) and all(
        part.dtype.kind in "biuf" and not np.any(part[-rows:]) for part in (x, y)
    ):
        raise CommandError(
            f"{path}: the last {rows} rows of x and y, if not more, are zeros throughout, so "
            "that the file seems not to have been written to its end; write it again, or "
            "without these rows"
        )


def _read_npz(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    try:
        # Which NumPy, too, takes the file for, and leaves open where it is none.
        with (
            path.open("rb") as file,
            zipfile.ZipFile(file) as members,
        ):
            sizes = {member.filename: member.file_size for member in members.infolist()}
            check_expansion(
                str(path), path, sum(sizes.get(f"{name}.npy", sizes.get(name, 0)) for name in names)
            )
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            missing = [name for name in names if name not in archive.files]
            if missing:
                raise CommandError(
                    f"{path}: has no array {' and no array '.join(missing)}; it holds "
                    f"{', '.join(archive.files) or 'nothing'}; write it with numpy.savez(path, "
                    f"{', '.join(f'{name}=...' for name in names)})"
                )
            return [_checked(archive[name], f"{path}: array {name}") for name in names]
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError) as error:
        raise CommandError(
            f"{path}: is not a complete .npz file of plain arrays ({error})"
        ) from None


def _open_folder(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    files = ", ".join(f"{name}.npy" for name in names)
    try:
        arrays = [
            np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names
        ]
        if not all(array.ndim for array in arrays):
            raise ValueError("one is a single number")
    except FileNotFoundError as error:
        raise CommandError(
            f"{path}: has no file {Path(error.filename).name}; expected {files}"
        ) from None
    except (ValueError, EOFError) as error:
        raise CommandError(
            f"{path}: {files} have to be whole files of plain arrays ({error})"
        ) from None
    return arrays


def _checked(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 0:
        raise CommandError(f"{name} is a single number; expected samples along the first axis")
    if array.dtype.kind not in "biuf":
        raise CommandError(f"{name} holds {array.dtype} values; expected numbers")
    wrong = ~np.isfinite(array)
    if wrong.any():
        raise CommandError(
            f"{name} holds NaN or infinity at {wrong.sum()} places, first at index "
            f"{tuple(map(int, np.argwhere(wrong)[0]))}"
        )
    return array
