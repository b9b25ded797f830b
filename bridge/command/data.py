"""Training data from a ``.npz`` or ``.csv`` file, checked before anything else happens, or on disk, to be streamed."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bridge.command.failure import CommandError


class Data(NamedTuple):
    """Inputs and targets with the samples along the first axis, and what to call them."""

    x: Any  #: an array, or a list of them for a model with several inputs
    y: np.ndarray
    features: tuple[str, ...] | None = None  #: column names of a CSV file
    targets: tuple[str, ...] | None = None
    streamed: bool = False  #: the arrays are datasets of an HDF5 file or memory maps, checked as they are read

    def rows(self, chosen: np.ndarray) -> tuple[Any, np.ndarray]:
        """Inputs and targets of some samples."""
        x = [part[chosen] for part in self.x] if isinstance(self.x, list) else self.x[chosen]
        return x, self.y[chosen]


def read(path: Path, targets: Sequence[str], inputs: Sequence[str] = ("x",)) -> Data:
    """The data in ``path``.

    Args:
        path: a .npz, .csv or HDF5 file, or a folder.
        targets: columns of a CSV file, by name or, without a header, by position from 0.
        inputs: the names of the model's inputs if it has several; a .npz file has an array for each.

    Raises:
        CommandError: when the file is missing or damaged, lacks a column, or holds anything but finite numbers.
    """
    readers = {".npz": _read_npz, ".csv": _read_csv, ".h5": _open_hdf5, ".hdf5": _open_hdf5}
    reader = _open_folder if path.is_dir() else readers.get(path.suffix.lower())
    if len(inputs) > 1:
        if path.suffix.lower() != ".npz":
            raise CommandError(f"{path}: the model has {len(inputs)} inputs; expected a .npz file with arrays {', '.join(inputs)} and y")
        reader = partial(_read_npz, inputs=inputs)
    if reader is None:
        raise CommandError(
            f"{path}: expected a .npz file (arrays x and y), a .csv file (with --target COLUMN), or, to be streamed, "
            "an .h5 file (datasets x and y) or a folder (x.npy and y.npy)"
        )
    try:
        data = reader(path, targets)
    except FileNotFoundError:
        raise CommandError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: cannot be read ({error})") from None
    for name, part in zip(inputs, data.x if isinstance(data.x, list) else [data.x], strict=True):
        if len(part) != len(data.y):
            raise CommandError(
                f"{path}: {name} has {len(part)} samples and y has {len(data.y)}; both need the same number along their first axis"
            )
    if len(data.y) == 0:
        raise CommandError(f"{path}: holds no samples")
    return data


def _read_npz(path: Path, targets: Sequence[str], inputs: Sequence[str] = ("x",)) -> Data:
    _refuse_targets(path, targets)
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in (*inputs, "y") if name not in archive.files]
            if missing:
                raise CommandError(
                    f"{path}: has no array {' and no array '.join(missing)}; it holds {', '.join(archive.files) or 'nothing'}; "
                    f"write it with numpy.savez(path, {', '.join(f'{name}=...' for name in (*inputs, 'y'))})"
                )
            *x, y = (_checked(archive[name], f"{path}: array {name}") for name in (*inputs, "y"))
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise CommandError(f"{path}: is not a complete .npz file of plain arrays ({error})") from None
    return Data(x if len(inputs) > 1 else x[0], y)


def _open_hdf5(path: Path, targets: Sequence[str]) -> Data:
    import h5py

    _refuse_targets(path, targets)
    file = h5py.File(path, "r")  # stays open until the process ends
    missing = [name for name in ("x", "y") if not isinstance(file.get(name), h5py.Dataset)]
    if missing:
        raise CommandError(f"{path}: has no dataset {' and no dataset '.join(missing)}; it holds {', '.join(file) or 'nothing'}")
    return Data(file["x"], file["y"], streamed=True)


def _open_folder(path: Path, targets: Sequence[str]) -> Data:
    _refuse_targets(path, targets)
    try:
        x, y = (np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("x", "y"))
    except FileNotFoundError as error:
        raise CommandError(f"{path}: has no file {Path(error.filename).name}; expected x.npy and y.npy") from None
    except ValueError as error:
        raise CommandError(f"{path}: x.npy and y.npy have to be plain arrays ({error})") from None
    return Data(x, y, streamed=True)


def _refuse_targets(path: Path, targets: Sequence[str]) -> None:
    if targets:
        raise CommandError(f"--target names columns of a .csv file; the target in {path} is y")


def _checked(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 0:
        raise CommandError(f"{name} is a single number; expected samples along the first axis")
    if array.dtype.kind not in "biuf":
        raise CommandError(f"{name} holds {array.dtype} values; expected numbers")
    wrong = ~np.isfinite(array)
    if wrong.any():
        raise CommandError(f"{name} holds NaN or infinity at {wrong.sum()} places, first at index {tuple(map(int, np.argwhere(wrong)[0]))}")
    return array


def _read_csv(path: Path, targets: Sequence[str]) -> Data:
    if not targets:
        raise CommandError(f"{path}: say with --target COLUMN which column(s) the model is to predict")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [(line, row) for line, row in enumerate(csv.reader(file), 1) if row]
    if not rows:
        raise CommandError(f"{path}: is empty")
    first = rows[0][1]
    header = None if all(_is_number(cell) for cell in first) else tuple(cell.strip() for cell in first)
    names = header or tuple(str(position) for position in range(len(first)))
    chosen = _positions(path, names, targets, header is not None)
    table = _numbers(path, names, chosen, rows[1:] if header else rows)
    others = [position for position in range(len(names)) if position not in chosen]
    if not others:
        raise CommandError(f"{path}: every column is a target; there is none left to predict from")
    return Data(table[:, others], table[:, chosen], tuple(names[i] for i in others), tuple(names[i] for i in chosen))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _positions(path: Path, names: Sequence[str], targets: Sequence[str], has_header: bool) -> list[int]:
    duplicates = sorted({name for name in names if list(names).count(name) > 1})
    if duplicates:
        raise CommandError(f"{path}: more than one column is called {', '.join(duplicates)}")
    unknown = [target for target in targets if target not in names]
    if unknown:
        kind = "columns" if has_header else "no header line, so columns are numbered from 0:"
        hint = "; expected commas between columns" if len(names) == 1 and set(names[0]) & {";", "\t"} else ""
        raise CommandError(f"{path}: no column {', '.join(map(repr, unknown))}; it has {kind} {', '.join(names)}{hint}")
    return [names.index(target) for target in dict.fromkeys(targets)]


def _numbers(path: Path, names: Sequence[str], chosen: Sequence[int], rows: list[tuple[int, list[str]]]) -> np.ndarray:
    table = np.empty((len(rows), len(names)))
    for index, (line, row) in enumerate(rows):
        if len(row) != len(names):
            raise CommandError(f"{path}: line {line} has {len(row)} columns, expected {len(names)}")
        for column, cell in enumerate(row):
            try:
                table[index, column] = float(cell)
            except ValueError:
                raise CommandError(f"{path}: line {line}, column {names[column]}: {_wrong_cell(cell, column in chosen)}") from None
        if not np.isfinite(table[index]).all():
            column = int(np.argmin(np.isfinite(table[index])))
            raise CommandError(f"{path}: line {line}, column {names[column]}: {row[column]!r} is not finite; fill it or remove the line")
    return table


def _wrong_cell(cell: str, is_target: bool) -> str:
    if not cell.strip():
        return "the cell is empty; fill it or remove the line"
    if is_target:
        return f"{cell!r} is not a number; write classes as 0, 1, 2, …"
    return f"{cell!r} is not a number; remove the column, or put one column of 0 and 1 for each category in its place"


def split(data: Data, fraction: float, seed: int) -> tuple[Data, tuple[np.ndarray, np.ndarray] | None]:
    """Training data and validation data; the latter are ``fraction`` of the samples, drawn with ``seed``."""
    if data.streamed and fraction > 0:
        raise CommandError("--validation-split draws samples, for which the data have to be in memory: use a .npz or .csv file")
    held_out = round(len(data.y) * fraction)
    if fraction > 0 and not 0 < held_out < len(data.y):
        raise CommandError(f"--validation-split {fraction:g} of {len(data.y)} samples leaves none on one side")
    if held_out == 0:
        return data, None
    order = np.random.default_rng(seed).permutation(len(data.y))
    kept, held = np.sort(order[held_out:]), np.sort(order[:held_out])
    x, y = data.rows(kept)
    return data._replace(x=x, y=y), data.rows(held)
