"""Writing portable bundles; docs/bundle.md describes the format."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from typing import IO

import numpy as np

from bridge._src.description.errors import ConversionError
from bridge._src.description.weights import Path, WeightTable
from bridge._src.formats.bundle import FORMAT, HEADER, STORED_AS, VERSION, WEIGHTS
from bridge._src.formats.description import Description


def write_bundle(
    file: IO[bytes], description: Description, table: WeightTable, values: Mapping[Path, np.ndarray]
) -> None:
    """Writes a bundle to the open binary file ``file``; equal models give equal bytes.

    Args:
        file: Open for writing.
        description: The model and its loss.
        table: The weights.
        values: Their values in the dtypes of the table.

    Raises:
        ConversionError: when the description holds something that JSON cannot express.
    """
    entries = [
        {
            "path": entry.path,
            "shape": entry.shape,
            "dtype": entry.dtype,
            "trainable": entry.trainable,
            "regularizer": entry.regularizer,
            "constraint": entry.constraint,
            "array": str(position),
        }
        for position, entry in enumerate(table)
    ]
    header = {
        "format": FORMAT,
        "version": VERSION,
        "model": description.model,
        "loss": description.loss,
        "weights": entries,
    }
    try:
        text = json.dumps(header, indent=1)
    except (TypeError, ValueError) as error:
        raise ConversionError(
            f"the model cannot be packed: its configuration cannot be written as JSON ({error})"
        ) from None
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_member(HEADER), text)
        # The inner archive is written straight into the outer one: no second copy of the weights is
        # held.
        with (
            archive.open(_member(WEIGHTS), "w", force_zip64=True) as inner,
            zipfile.ZipFile(inner, "w") as arrays,
        ):
            for entry, described in zip(table, entries, strict=True):
                with arrays.open(
                    _member(f"{described['array']}.npy"), "w", force_zip64=True
                ) as member:
                    _write_array(member, values[entry.path], entry.dtype)


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # dated 1980
    info.create_system, info.external_attr = 3, 0o644 << 16
    return info


def _write_array(file: IO[bytes], values: np.ndarray, dtype: str) -> None:
    stored = STORED_AS.get(dtype, np.dtype(dtype).newbyteorder("<"))
    plain = np.asarray(values, order="C")
    plain = plain.view(stored) if dtype in STORED_AS else plain.astype(stored, copy=False)
    np.lib.format.write_array(file, plain, version=(1, 0), allow_pickle=False)
