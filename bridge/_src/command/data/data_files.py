"""Training data from a ``.npz`` or ``.csv`` file, checked before anything else happens, or on disk,
to be streamed.
"""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bridge._src.command.data import hdf5_trial
from bridge._src.command.data.table import read_table
from bridge._src.command.failure import CommandError
from bridge._src.hdf5.nodes import Dataset, File
from bridge._src.hdf5.source import HDF5Error, UnreadHDF5Error
from lmjax._src.training.streaming.datasets import check_dataset
from lmjax._src.typing import PyTree

#: An end of zeros that is as long as a page of memory was rather not written than measured.
_PAGE = 4096

#: The exit code of a Python program that an exception has ended.
_REFUSED_BY_LIBRARY = 1


class Data(NamedTuple):
    """Inputs and targets with the samples along the first axis, and what to call them."""

    x: PyTree  #: an array, or a list of them for a model with several inputs
    y: np.ndarray
    features: tuple[str, ...] | None = None  #: column names of a CSV file
    targets: tuple[str, ...] | None = None
    streamed: bool = (
        False  #: the arrays are datasets of an HDF5 file or memory maps, checked as they are read
    )

    def rows(self, chosen: np.ndarray) -> tuple[PyTree, np.ndarray]:
        """Inputs and targets of some samples."""
        x = [part[chosen] for part in self.x] if isinstance(self.x, list) else self.x[chosen]
        return x, self.y[chosen]


def read(
    path: Path, targets: Sequence[str], inputs: Sequence[str] = ("x",), header: bool | None = None
) -> Data:
    """The data in ``path``.

    Args:
        path: a .npz, .csv or HDF5 file, or a folder.
        targets: columns of a CSV file, by name or, without a header, by position from 0.
        inputs: the names of the model's inputs if it has several; a .npz file has an array for
            each.
        header: whether the first line of a CSV file holds the names of the columns; None to see it
            from the line.

    Raises:
        CommandError: when the file is missing or damaged, lacks a column, or holds anything but
            finite numbers.
    """
    if header is not None and path.suffix.lower() != ".csv":
        raise CommandError(f"{path}: --header and --no-header are for .csv files")
    readers: dict[str, Callable[..., Data]] = {
        ".npz": _read_npz,
        ".csv": partial(_read_csv, header=header),
        ".h5": _open_hdf5,
        ".hdf5": _open_hdf5,
    }
    reader = _open_folder if path.is_dir() else readers.get(path.suffix.lower())
    if len(inputs) > 1:
        if path.suffix.lower() != ".npz":
            raise CommandError(
                f"{path}: the model has {len(inputs)} inputs; expected a .npz file with "
                f"arrays {', '.join(inputs)} and y"
            )
        reader = partial(_read_npz, inputs=inputs)
    if reader is None:
        raise CommandError(
            f"{path}: expected a .npz file (arrays x and y), a .csv file (with --target "
            "COLUMN), or, to be streamed, an .h5 file (datasets x and y) or a folder (x.npy "
            "and y.npy)"
        )
    try:
        data = reader(path, targets)
        if data.streamed:
            _check_end(path, data.x, data.y)
    except FileNotFoundError:
        raise CommandError(f"{path}: no such file") from None
    except CommandError:
        raise
    except Exception as error:
        raise CommandError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    for name, part in zip(inputs, data.x if isinstance(data.x, list) else [data.x], strict=True):
        if len(part) != len(data.y):
            raise CommandError(
                f"{path}: {name} has {len(part)} samples and y has {len(data.y)}; both "
                "need the same number along their first axis"
            )
    if len(data.y) == 0:
        raise CommandError(f"{path}: holds no samples")
    return data


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


def _read_npz(path: Path, targets: Sequence[str], inputs: Sequence[str] = ("x",)) -> Data:
    _refuse_targets(path, targets)
    try:
        # Which NumPy, too, takes the file for, and leaves open where it is none.
        with (
            path.open("rb") as file,
            zipfile.ZipFile(file),
        ):
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            missing = [name for name in (*inputs, "y") if name not in archive.files]
            if missing:
                raise CommandError(
                    f"{path}: has no array {' and no array '.join(missing)}; it holds "
                    f"{', '.join(archive.files) or 'nothing'}; write it with numpy.savez(path, "
                    f"{', '.join(f'{name}=...' for name in (*inputs, 'y'))})"
                )
            *x, y = (_checked(archive[name], f"{path}: array {name}") for name in (*inputs, "y"))
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError) as error:
        raise CommandError(
            f"{path}: is not a complete .npz file of plain arrays ({error})"
        ) from None
    return Data(x if len(inputs) > 1 else x[0], y)


def _open_hdf5(path: Path, targets: Sequence[str]) -> Data:
    import h5py

    _refuse_targets(path, targets)
    _check_structure(path)
    file = h5py.File(path, "r")  # stays open until the process ends
    links = {name: file.get(name, getlink=True) for name in ("x", "y")}
    for name, link in links.items():
        if link is not None and not isinstance(link, h5py.HardLink):
            raise CommandError(
                f"{path}: {name} is a link to elsewhere ({type(link).__name__}), which is "
                "not followed"
            )
    missing = [
        name
        for name, link in links.items()
        if link is None or not isinstance(file[name], h5py.Dataset)
    ]
    if missing:
        raise CommandError(
            f"{path}: has no dataset {' and no dataset '.join(missing)}; it holds "
            f"{', '.join(file) or 'nothing'}"
        )
    for name in links:
        try:
            check_dataset(file[name], name)
        except ValueError as error:
            raise CommandError(f"{path}: {error}") from None
        if file[name].dtype.kind not in "biuf":
            raise CommandError(
                f"{path}: dataset {name} holds {file[name].dtype} values; expected numbers"
            )
        if not file[name].shape:
            raise CommandError(
                f"{path}: dataset {name} is no array with the samples along its first axis"
            )
    return Data(file["x"], file["y"], streamed=True)


def _check_structure(path: Path) -> None:
    """Refuses a file whose structure is damaged where x and y are described: the HDF5 library might
    crash on it.
    """
    with path.open("rb") as opened:
        try:
            file = File(opened)
            for found in map(file.get, ("x", "y")):
                if isinstance(found, Dataset):
                    found.check()
        except UnreadHDF5Error:
            _try_library(path)
        except (HDF5Error, UnicodeDecodeError) as error:
            raise CommandError(f"{path}: is truncated or no HDF5 file ({error})") from None


def _try_library(path: Path) -> None:
    """Refuses a file at which the HDF5 library crashes, or on which it hangs, in a process of its
    own; what else it says, it says again.
    """
    tried = subprocess.run(
        [sys.executable, "-P", hdf5_trial.__file__, str(path)],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if tried.returncode not in (0, _REFUSED_BY_LIBRARY):
        how = (
            "does not come to an end with"
            if tried.returncode == -getattr(signal, "SIGALRM", 0)
            else "crashes on"
        )
        raise CommandError(
            f"{path}: is damaged so that the HDF5 library {how} it; write it again with "
            "h5py or NumPy, or as a .npz file"
        )


def _open_folder(path: Path, targets: Sequence[str]) -> Data:
    _refuse_targets(path, targets)
    try:
        x, y = (
            np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("x", "y")
        )
        if not x.ndim or not y.ndim:
            raise ValueError("one is a single number")
    except FileNotFoundError as error:
        raise CommandError(
            f"{path}: has no file {Path(error.filename).name}; expected x.npy and y.npy"
        ) from None
    except (ValueError, EOFError) as error:
        raise CommandError(
            f"{path}: x.npy and y.npy have to be whole files of plain arrays ({error})"
        ) from None
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
        raise CommandError(
            f"{name} holds NaN or infinity at {wrong.sum()} places, first at index "
            f"{tuple(map(int, np.argwhere(wrong)[0]))}"
        )
    return array


def _read_csv(path: Path, targets: Sequence[str], header: bool | None = None) -> Data:
    return Data(*read_table(path, targets, header))


def split(
    data: Data, fraction: float, seed: int
) -> tuple[Data, tuple[np.ndarray, np.ndarray] | None]:
    """Training data and validation data; the latter are ``fraction`` of the samples, drawn with
    ``seed``.
    """
    if data.streamed and fraction > 0:
        raise CommandError(
            "--validation-split draws samples, for which the data have to be in memory: "
            "use a .npz or .csv file"
        )
    held_out = round(len(data.y) * fraction)
    if fraction > 0 and not 0 < held_out < len(data.y):
        raise CommandError(
            f"--validation-split {fraction:g} of {len(data.y)} samples leaves none on one side"
        )
    if held_out == 0:
        return data, None
    order = np.random.default_rng(seed).permutation(len(data.y))
    kept, held = np.sort(order[held_out:]), np.sort(order[:held_out])
    x, y = data.rows(kept)
    return data._replace(x=x, y=y), data.rows(held)
