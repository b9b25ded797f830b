"""Data that could be larger than memory: rows in a file."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.workloads.regression import Regression

_PIECE = 50_000


@dataclasses.dataclass(frozen=True)
class OnDisk:
    """20 inputs and one target in float32, for Dense(23, tanh)-Dense(1): 507 parameters."""

    sizes: tuple[int, ...] = (20, 23, 1)

    def write(self, rows: int, folder: Path) -> tuple[np.memmap, np.memmap]:
        """Files of ``rows`` rows, written piece by piece, opened as memory maps."""
        random, arrays = np.random.default_rng(0), []
        for name, width in (("x", self.sizes[0]), ("y", 1)):
            arrays.append(
                np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (rows, width))
            )
        for start in range(0, rows, _PIECE):
            piece = random.uniform(-1, 1, size=(min(_PIECE, rows - start), self.sizes[0]))
            arrays[0][start : start + _PIECE] = piece
            arrays[1][start : start + _PIECE] = np.sin(piece.sum(axis=1, keepdims=True))
        for array in arrays:
            array.flush()
        return tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("x", "y"))

    def start(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The weights to begin with."""
        return Regression(np.empty(0), np.empty(0), self.sizes).start()


def on_disk() -> OnDisk:
    """The workload; each peer writes as many rows as it reads."""
    return OnDisk()


def folder() -> tempfile.TemporaryDirectory[str]:
    """Where a peer's files go; deleted with the returned object."""
    return tempfile.TemporaryDirectory(prefix="lmjax-benchmark-")
