"""Training data in datasets of an HDF5 file, to be streamed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge._src.command.data import hdf5_trial
from bridge._src.command.failure import CommandError
from bridge._src.hdf5.nodes import Dataset, File
from bridge._src.hdf5.source import HDF5Error, UnreadHDF5Error
from lmjax._src.training.streaming.datasets import check_dataset

#: The exit code of a Python program that an exception has ended.
_REFUSED_BY_LIBRARY = 1


def open_datasets(path: Path, names: Sequence[str]) -> list[Any]:
    """The datasets ``names`` of the file at ``path``, which stays open until the process ends.

    Raises:
        CommandError: one is missing, damaged, or holds no numbers.
    """
    import h5py

    _check_structure(path, names)
    file = h5py.File(path, "r")
    links = {name: file.get(name, getlink=True) for name in names}
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
    return [file[name] for name in names]


def _check_structure(path: Path, names: Sequence[str]) -> None:
    """Refuses a file whose structure is damaged where the datasets are described: the HDF5 library
    might crash on it.
    """
    with path.open("rb") as opened:
        try:
            file = File(opened)
            for found in map(file.get, names):
                if isinstance(found, Dataset):
                    found.check()
        except UnreadHDF5Error:
            _try_library(path, names)
        except (HDF5Error, UnicodeDecodeError) as error:
            raise CommandError(f"{path}: is truncated or no HDF5 file ({error})") from None


def _try_library(path: Path, names: Sequence[str]) -> None:
    """Refuses a file at which the HDF5 library crashes, or on which it hangs, in a process of its
    own; what else it says, it says again.
    """
    tried = subprocess.run(
        [sys.executable, "-P", hdf5_trial.__file__, str(path), *names],
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
