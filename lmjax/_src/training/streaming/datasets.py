"""HDF5 datasets as data: what of them is not in the file would be read as zeros."""

from __future__ import annotations

import math
import os
from typing import Any


def check_dataset(dataset: Any, name: str) -> None:
    """Refuses an HDF5 dataset, called ``name`` in messages, that lies elsewhere or was not written
    to its end.

    HDF5 gives its fill value, mostly zero, for parts that were never written and for files that a
    virtual dataset does not find.

    Raises:
        ValueError: it is such a dataset.
    """
    if dataset.is_virtual or dataset.external:
        kind = "a virtual dataset" if dataset.is_virtual else "a dataset in external storage"
        raise ValueError(
            f"{name}: {kind} has its numbers in other files, which are not followed; copy "
            "them into one dataset"
        )
    if dataset.shape is None or math.prod(dataset.shape) == 0:
        return
    if dataset.chunks is None:
        missing, parts = int(dataset.id.get_storage_size() == 0), 1
    else:
        parts = math.prod(
            -(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)
        )
        missing = parts - dataset.id.get_num_chunks()
    if missing > 0:
        raise ValueError(
            f"{name}: {missing} of the {parts} parts of the dataset {dataset.name} were never "
            f"written, and would be read as {dataset.fillvalue}; the writing of the file "
            f"{dataset.file.filename} was broken off, so write it again"
        )


def check_file(dataset: Any) -> None:
    """Refuses an HDF5 dataset whose file was cut off since it was opened: HDF5 reads what lies
    behind the end as zeros.

    Raises:
        ValueError: the file is shorter than it was.
    """
    file = getattr(dataset, "file", None)
    if file is None or file.mode != "r" or file.swmr_mode or file.driver != "sec2":
        return  # somebody writes it, who may not have come to its end, or it is not on a disk
    had, has = file.id.get_filesize(), os.fstat(file.id.get_vfd_handle()).st_size
    if has < had:
        raise ValueError(
            f"{file.filename}: the file was cut off while it was read; it has {has} bytes "
            f"and had {had}"
        )
