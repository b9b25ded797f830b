"""HDF5 files that are cut off while they are streamed: HDF5 itself would read zeros."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from lmjax._src.training.streaming.sources import find_source

ROWS = 4000


@pytest.mark.parametrize(
    "options", [{}, {"chunks": (100, 3)}, {"chunks": (100, 3), "compression": "gzip"}]
)
@pytest.mark.parametrize("userblock", [0, 512])
def test_a_file_that_is_cut_off_is_refused(options, userblock, tmp_path):
    x = np.random.default_rng(0).normal(size=(ROWS, 3))
    path = tmp_path / "data.h5"
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file["y"] = x[:, :1]
        file.create_dataset("x", data=x, **options)
    with h5py.File(path, "r") as file:
        source = find_source(file["x"], file["y"], None)
        read = np.concatenate([piece[0] for piece in source.pieces()])
        np.testing.assert_array_equal(read, x)
        os.truncate(path, path.stat().st_size - 1000)
        with pytest.raises(
            ValueError,
            match=r"data\.h5: the file was cut off while it was read; it has \d+ bytes and had",
        ):
            list(source.pieces())


def test_files_that_are_written_and_files_in_memory_are_read(tmp_path):
    x = np.ones((ROWS, 3))
    for arguments in (
        {"name": tmp_path / "a.h5"},
        {"name": "b.h5", "driver": "core", "backing_store": False},
    ):
        with h5py.File(**arguments, mode="w") as file:
            file["x"], file["y"] = x, x[:, :1]
            assert (
                sum(len(piece[1]) for piece in find_source(file["x"], file["y"], None).pieces())
                == ROWS
            )
