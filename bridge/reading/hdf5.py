"""Reading HDF5 groups and datasets that may come from strangers: no links out of the file, no invented sizes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from bridge.errors import ConversionError

#: A compressed dataset cannot honestly be larger than this many times what it stores (limit of deflate).
_MAX_EXPANSION = 1032


@contextmanager
def opened(source: str | Path | io.BytesIO, origin: str) -> Iterator[h5py.File]:
    """The HDF5 file ``source``, opened for reading; ``origin`` names it for messages.

    Raises:
        ConversionError: when the file is missing or damaged, or what is read inside the block is.
    """
    try:
        with open(source, "rb") if not isinstance(source, io.BytesIO) else source as data, h5py.File(data, "r") as file:
            yield file
    except ConversionError as error:
        raise ConversionError(f"{origin}: {error}") from None
    except FileNotFoundError:
        raise ConversionError(f"there is no file {origin}; give the path of a model that Keras has saved") from None
    except IsADirectoryError:
        raise ConversionError(f"{origin} is a folder; give the file that model.save(...) writes") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ConversionError(f"{origin} is truncated or no HDF5 file ({_one_line(error)}); save the model again") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def read_attribute(place: h5py.Group, name: str, limit: int) -> Any:
    """An attribute of numbers or text, text decoded and arrays as lists; None when there is none.

    Raises:
        ConversionError: when it claims more than ``limit`` bytes.
    """
    if name not in place.attrs:
        return None
    identifier = place.attrs.get_id(name)
    claimed = math.prod(identifier.shape) * identifier.dtype.itemsize
    if claimed > min(limit, place.file.id.get_filesize()):
        raise ConversionError(f"the attribute {name} of {place.name} claims {claimed} bytes; the file is damaged or hostile")
    return _decoded(place.attrs[name])


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return [_decoded(item) for item in value.tolist()]
    return value


def group_at(file: h5py.File, path: str) -> h5py.Group | None:
    """The group at ``path``, every step of which is a hard link; None when there is none."""
    current: h5py.Group = file
    for part in filter(None, path.split("/")):
        following = member(current, part)
        if not isinstance(following, h5py.Group):
            return None
        current = following
    return current


def stored_weights(file: h5py.File, path: str) -> list[str]:
    """Names of the datasets ``path/vars/0``, ``path/vars/1``, … in order; checked to be plain datasets."""
    group = group_at(file, f"{path}/vars")
    if group is None:
        return []
    names = [f"{path}/vars/{position}".lstrip("/") for position in range(len(group))]
    for position, name in enumerate(names):
        dataset = member(group, str(position))
        if not isinstance(dataset, h5py.Dataset):
            raise ConversionError(f"the weights file holds {sorted(group)} in {path}/vars, expected datasets numbered from 0")
        check_dataset(dataset, name)
    return names


def read_dataset(file: h5py.File, name: str) -> np.ndarray:
    """The values of a dataset that :func:`stored_weights` has checked."""
    dataset = file[name]
    try:
        values = np.asarray(dataset[()])
    except OSError as error:
        raise ConversionError(f"the weights {name} cannot be read ({error}); the file is damaged, save the model again") from None
    if dataset.attrs.get("dtype") == "bfloat16":
        import ml_dtypes

        return values.view(ml_dtypes.bfloat16) if values.dtype.kind == "V" else values.astype(ml_dtypes.bfloat16)
    return values


def member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """What ``group`` holds under ``name`` by a hard link; None when there is nothing."""
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise ConversionError(
            f"the weights file has a link to elsewhere at {group.name}/{name} ({type(link).__name__}), which is not followed"
        )
    try:
        return group.get(name)
    except (OSError, KeyError, RuntimeError) as error:
        raise ConversionError(f"the weights file is damaged at {group.name}/{name} ({error}); save the model again") from None


def check_dataset(dataset: h5py.Dataset, name: str) -> None:
    """Raises :class:`ConversionError` unless the dataset holds numbers, in this file, as many as it claims."""
    if dataset.external or dataset.is_virtual:
        raise ConversionError(f"the weights {name} lie in another file, which is not followed")
    if dataset.dtype.kind not in "biufV" or dataset.dtype.hasobject:
        raise ConversionError(f"the weights {name} are not numbers ({dataset.dtype})")
    declared, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    stored = min(stored, dataset.file.id.get_filesize())
    if declared > stored * (_MAX_EXPANSION if dataset.compression else 1):
        raise ConversionError(f"the weights {name} claim {declared} bytes but store {stored}; the file is damaged or hostile")
