"""A new HDF5 file with what was read from another: the HDF5 library writes it, and never sees the
other.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridge._src.formats.keras_hdf5 import check_dataset
from bridge._src.hdf5.nodes import Dataset, Group


def copy_hdf5(
    source: Group,
    target: Path | io.BytesIO,
    without: Collection[str] = (),
    renamed: Mapping[str, str] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Writes an HDF5 file with the numbers of ``source``, and all attributes that are text or
    numbers.

    Args:
        source: The root of the file that is read.
        target: Where to write.
        without: Names that are left out wherever they are.
        renamed: Other names for groups, by their paths.
        attributes: Other values for attributes of the root.

    Raises:
        ConversionError: when a dataset does not hold numbers, in its own file, as many as it
            claims.
    """
    import h5py

    with h5py.File(target, "w") as file:
        waiting: list[tuple[Group, Any]] = [(source, file)]
        seen: set[int] = set()
        while waiting:
            group, made = waiting.pop()
            _copy_attributes(group, made, attributes if attributes and made.name == "/" else {})
            for link in group.links.values():
                if link.address is None or link.address in seen or link.name in without:
                    continue
                seen.add(link.address)
                found = group.get(link.name)
                if isinstance(found, Dataset):
                    check_dataset(found, found.name)
                    values = found.read()
                    _copy_attributes(
                        found, made.create_dataset(link.name, data=_bytes_of_no_type(values)), {}
                    )
                elif found is not None:
                    waiting.append(
                        (found, made.create_group((renamed or {}).get(found.name, link.name)))
                    )


def _bytes_of_no_type(values: np.ndarray) -> np.ndarray:
    """bfloat16 as Keras writes it."""
    return values.view("V2") if values.dtype.name == "bfloat16" else values


def _copy_attributes(source: Any, target: Any, others: Mapping[str, str]) -> None:
    for name in source.attributes():
        value = others.get(name) or (None if name == "training_config" else source.attribute(name))
        if value is not None:
            target.attrs[name] = value
