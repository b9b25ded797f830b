"""A program that reads datasets of an HDF5 file once: ``python hdf5_trial.py PATH NAME…``.

The HDF5 library trusts what it reads, so that a damaged file may crash its process, or hold it for
ever where Ctrl-C does not reach. What our own reader does not know is read here first, in a process
that may come to such an end. Nothing of the package is imported.
"""

from __future__ import annotations

import math
import signal
import sys
from typing import Any

#: In so many seconds every piece of the data is read, or never.
_SECONDS = 60
_PIECE_BYTES = 4 * 2**20


def _wait() -> None:
    """Has the system end this process if it is not called again soon; on Windows there is no such
    clock.
    """
    if hasattr(signal, "alarm"):
        signal.alarm(_SECONDS)


def _read(dataset: Any) -> None:
    if (
        dataset.shape is None
        or not dataset.shape
        or dataset.is_virtual
        or dataset.external
        or dataset.dtype.kind not in "biuf"
    ):
        return
    if dataset.chunks is not None:
        dataset.id.get_num_chunks()
    dataset.id.get_storage_size()
    rows = max(1, _PIECE_BYTES // max(dataset.dtype.itemsize * math.prod(dataset.shape[1:]), 1))
    for start in range(0, dataset.shape[0] if dataset.size else 0, rows):
        _wait()
        dataset[start : start + rows]


def _try(path: str, *names: str) -> None:
    _wait()
    import h5py

    with h5py.File(path, "r") as file:
        for name in names:
            if isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(
                file[name], h5py.Dataset
            ):
                _read(file[name])


if __name__ == "__main__":
    _try(*sys.argv[1:])
