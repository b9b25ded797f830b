"""What Keras keeps in HDF5 files that may come from strangers: no links out of the file, no
invented sizes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ml_dtypes
import numpy as np

from bridge._src.description.errors import ConversionError
from bridge._src.hdf5.nodes import Dataset, File, Group
from bridge._src.hdf5.source import HDF5Error


@contextmanager
def opened(
    source: str | Path | io.BytesIO, origin: str, on_disk: int | None = None
) -> Iterator[File]:
    """The HDF5 file ``source``, opened for reading; ``origin`` names it for messages.

    ``on_disk`` is the size of the file on the disk in which ``source`` lies compressed, if it does.

    Raises:
        ConversionError: when the file is missing or damaged, or what is read inside the block is.
    """
    with (
        refusing(origin),
        open(source, "rb") if not isinstance(source, io.BytesIO) else source as data,
    ):
        yield File(data, on_disk)


@contextmanager
def refusing(origin: str) -> Iterator[None]:
    """Within it whatever is wrong with the HDF5 file that ``origin`` names, or with opening it,
    ends in a :class:`ConversionError`.
    """
    try:
        yield
    except ConversionError as error:
        raise ConversionError(f"{origin}: {error}") from None
    except FileNotFoundError:
        raise ConversionError(
            f"there is no file {origin}; give the path of a model that Keras has saved"
        ) from None
    except IsADirectoryError:
        raise ConversionError(
            f"{origin} is a folder; give the file that model.save(...) writes"
        ) from None
    except (HDF5Error, UnicodeDecodeError) as error:
        raise ConversionError(
            f"{origin} is truncated or no HDF5 file ({error}); save the model again"
        ) from None
    except OSError as error:
        raise ConversionError(f"{origin} cannot be read ({error.strerror or error})") from None


def group_at(file: Group, path: str) -> Group | None:
    """The group at ``path``, every step of which is a hard link; None when there is none."""
    current = file
    for part in filter(None, path.split("/")):
        following = member(current, part)
        if not isinstance(following, Group):
            return None
        current = following
    return current


def dataset_at(file: Group, path: str) -> Dataset | None:
    """The dataset at ``path``, every step of which is a hard link; None when there is none."""
    *folders, last = path.strip("/").split("/")
    folder = group_at(file, "/".join(folders))
    found = None if folder is None else member(folder, last)
    return found if isinstance(found, Dataset) else None


def member(group: Group, name: str) -> Group | Dataset | None:
    """What ``group`` holds under ``name`` by a hard link; None when there is nothing."""
    link = group.links.get(name)
    if link is not None and link.elsewhere:
        raise ConversionError(
            f"the weights file has a link to elsewhere at {group.name}/{name} "
            f"({link.elsewhere}), which is not followed"
        )
    return group.get(name)


def stored_weights(file: Group, path: str) -> list[str]:
    """Names of the datasets ``path/vars/0``, ``path/vars/1``, … in order; checked to be plain
    datasets.
    """
    group = group_at(file, f"{path}/vars")
    if group is None:
        return []
    names = [f"{path}/vars/{position}".lstrip("/") for position in range(len(group.links))]
    for position, name in enumerate(names):
        dataset = member(group, str(position))
        if not isinstance(dataset, Dataset):
            raise ConversionError(
                f"the weights file holds {list(group.links)[:8]} in {path}/vars, expected "
                "datasets numbered from 0"
            )
        check_dataset(dataset, name)
    return names


def check_dataset(dataset: Dataset, name: str) -> None:
    """Raises :class:`ConversionError` unless the dataset holds numbers, in this file, as many as it
    claims.
    """
    if dataset.layout.elsewhere:
        raise ConversionError(f"the weights {name} lie in another file, which is not followed")
    if dataset.dtype is None:
        raise ConversionError(f"the weights {name} are not numbers ({dataset.kind})")
    needed, stored = dataset.nbytes, dataset.layout.stored
    if needed > stored * dataset.layout.expansion:
        raise ConversionError(
            f"the weights {name} claim {needed} bytes but store {stored}; the file is "
            "damaged or hostile"
        )


def stored_dtype(dataset: Dataset) -> str:
    """The name of the dtype of a dataset that :func:`check_dataset` has passed; Keras writes
    bfloat16 as bytes of no type.
    """
    return "bfloat16" if dataset.attribute("dtype") == "bfloat16" else str(dataset.dtype)


def read_dataset(file: Group, name: str) -> np.ndarray:
    """The values of a dataset that :func:`check_dataset` has passed."""
    dataset = dataset_at(file, name)
    if dataset is None:
        raise ConversionError(f"it lacks the weights {name}")
    try:
        values = dataset.read()
    except HDF5Error as error:
        raise ConversionError(
            f"the weights {name} cannot be read ({error}); the file is damaged, save the "
            "model again"
        ) from None
    if stored_dtype(dataset) == "bfloat16":
        return (
            values.view(ml_dtypes.bfloat16)
            if values.dtype.kind == "V"
            else values.astype(ml_dtypes.bfloat16)
        )
    return values.astype(values.dtype.newbyteorder("="), copy=False)
