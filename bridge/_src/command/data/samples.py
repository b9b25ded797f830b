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


class Sets(NamedTuple):
    """The data of a command; None where there are none."""

    training: Data
    validation: Data | None = None
    test: Data | None = None


def split(data: Data, seed: int, validation: float = 0.0, test: float = 0.0) -> Sets:
    """Training data, and what is held out, drawn with ``seed``.

    Args:
        data: all samples.
        seed: of the drawing.
        validation: a fraction of all samples.
        test: likewise; whether there are any changes nothing about which ones are validated on.

    Raises:
        CommandError: a set would have no samples, or the data are streamed.
    """
    shares = {"--validation-split": validation, "--test-split": test}
    given = {name: share for name, share in shares.items() if share}
    if not given:
        return Sets(data)
    if data.streamed:
        raise CommandError(
            f"{' and '.join(given)} draws samples, for which the data have to be in memory: "
            "use a .npz file or a table"
        )
    samples = data.num_samples
    held = {name: round(samples * share) for name, share in shares.items()}
    if sum(held.values()) >= samples or any(held[name] == 0 for name in given):
        said = " and ".join(f"{name} {share:g}" for name, share in given.items())
        raise CommandError(f"{said} of {samples} samples leaves none on one side")
    order = np.random.default_rng(seed).permutation(samples)
    first, second = np.cumsum(list(held.values()))

    def part(chosen: np.ndarray) -> Data | None:
        return data.rows(np.sort(chosen)) if len(chosen) else None

    training = data.rows(np.sort(order[second:]))
    return Sets(training, part(order[:first]), part(order[first:second]))
