"""Samples as commands hand them on, and some of them held out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bridge._src.command.failure import CommandError
from lmjax._src.typing import PyTree


class Data(NamedTuple):
    """Inputs and targets with the samples along the first axis, and what to call them."""

    x: PyTree  #: an array, or a list of them for a model with several inputs
    y: np.ndarray | None  #: None where none were asked for
    features: tuple[str, ...] | None = None  #: column names of a table
    targets: tuple[str, ...] | None = None
    streamed: bool = (
        False  #: the arrays are datasets of an HDF5 file or memory maps, checked as they are read
    )
    sample_weight: np.ndarray | None = None  #: (N,)
    remarks: tuple[str, ...] = ()  #: what is to be said of how they were read

    @property
    def num_samples(self) -> int:
        """How many there are."""
        return len(self.x[0] if isinstance(self.x, list) else self.x)

    def rows(self, chosen: np.ndarray | slice) -> Data:
        """Some samples."""
        x = [part[chosen] for part in self.x] if isinstance(self.x, list) else self.x[chosen]
        y, weights = (
            None if part is None else part[chosen] for part in (self.y, self.sample_weight)
        )
        return self._replace(x=x, y=y, sample_weight=weights)


def split(data: Data, fraction: float, seed: int) -> tuple[Data, Data | None]:
    """Training data and validation data; the latter are ``fraction`` of the samples, drawn with
    ``seed``.
    """
    if data.streamed and fraction > 0:
        raise CommandError(
            "--validation-split draws samples, for which the data have to be in memory: "
            "use a .npz file or a table"
        )
    samples = data.num_samples
    held_out = round(samples * fraction)
    if fraction > 0 and not 0 < held_out < samples:
        raise CommandError(
            f"--validation-split {fraction:g} of {samples} samples leaves none on one side"
        )
    if held_out == 0:
        return data, None
    order = np.random.default_rng(seed).permutation(samples)
    return data.rows(np.sort(order[held_out:])), data.rows(np.sort(order[:held_out]))
