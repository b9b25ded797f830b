"""A copy of a ``.keras`` file, or of a file of weights, with other weights."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np

from bridge._src.formats.archive import WEIGHTS, Archive
from bridge._src.formats.keras_hdf5 import dataset_at
from bridge._src.hdf5.nodes import File

#: New values by the name of their dataset.
Changed = Mapping[str, np.ndarray]


def write_archive(source: Archive, weights: bytes, file: IO[bytes]) -> None:
    """Writes to ``file`` the ``.keras`` archive ``source`` with another weights file in it."""
    copy_archive(source, file, {WEIGHTS: weights})


def with_values(data: bytes, changed: Changed) -> bytes:
    """An HDF5 file in memory with other values; the very same bytes when there are none."""
    if not changed:
        return data
    buffer = io.BytesIO(data)
    set_values(buffer, changed)
    return buffer.getvalue()


def set_values(file: Any, changed: Changed) -> None:
    """Sets datasets of the HDF5 file that ``file``, open for reading and writing, holds."""
    opened = File(file)
    in_chunks = {}
    for name, value in changed.items():
        dataset = dataset_at(opened, name)
        assert dataset is not None
        assert dataset.dtype is not None
        if dataset.place is None:
            in_chunks[name] = value
        else:
            file.seek(dataset.place)
            stored = np.ascontiguousarray(_as_stored(value, dataset.dtype))
            file.write(memoryview(stored.reshape(-1).view(np.uint8)))  # type: ignore[arg-type]
    if in_chunks:
        file.flush()
        _set_in_chunks(file, in_chunks)


def _as_stored(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return (
        value.view(dtype)
        if dtype.kind == "V" and value.dtype != dtype
        else value.astype(dtype, copy=False)
    )


def _set_in_chunks(file: Any, changed: Changed) -> None:
    """Keras stores no weights so; they take the library."""
    import h5py

    with h5py.File(file, "r+") as opened:
        for name, value in changed.items():
            opened[name][...] = _as_stored(value, opened[name].dtype)


def copy_archive(source: Archive, file: IO[bytes], replaced: Mapping[str, bytes]) -> None:
    """Writes to ``file`` the ``.keras`` archive ``source`` with other contents for some members."""
    old = source.zip
    with zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            if info.filename in replaced:
                new.writestr(info, replaced[info.filename])
                continue
            if not _stays_inside(info):
                continue
            with old.open(info) as reading, new.open(info, "w") as writing:
                while chunk := reading.read(1 << 20):
                    writing.write(chunk)


def _stays_inside(info: zipfile.ZipInfo) -> bool:
    """Whether a member is a file or folder within the archive: no other is passed on, since whoever
    unpacks the copy trusts us.
    """
    path = PurePosixPath(info.filename.replace("\\", "/"))
    kind = stat.S_IFMT(info.external_attr >> 16)
    return not (path.is_absolute() or ".." in path.parts or ":" in info.filename) and kind in (
        0,
        stat.S_IFREG,
        stat.S_IFDIR,
    )
