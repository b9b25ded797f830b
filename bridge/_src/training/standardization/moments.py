"""Means, deviations and ranges of columns, in one pass over blocks of rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmjax._src.typing import NumpyArray


class AffineMap(NamedTuple):
    """raw = scale · standardised + shift, for each column; float64."""

    scale: NumpyArray
    shift: NumpyArray


class Moments:
    """Of columns, whose rows come block by block (Chan, Golub and LeVeque, 1979)."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, rows: NumpyArray) -> None:
        """Counts rows (N, columns) in."""
        rows = np.asarray(rows, np.float64)
        if not len(rows):
            return
        with np.errstate(invalid="ignore", over="ignore"):
            mean, low, high = rows.mean(axis=0), rows.min(axis=0), rows.max(axis=0)
            squares = np.square(rows - mean).sum(axis=0)
            if not self.count:
                self.count, self._mean, self._squares = len(rows), mean, squares
                self._low, self._high = low, high
                return
            total = self.count + len(rows)
            apart = mean - self._mean
            self._squares = (
                self._squares + squares + np.square(apart) * self.count * len(rows) / total
            )
            self._mean = self._mean + apart * len(rows) / total
            self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
            self.count = total

    def affine(self, kind: str, called: str) -> AffineMap:
        """The map that standardises the columns, which messages call so; constant ones are only
        shifted.

        Args:
            kind: one of :data:`~bridge._src.training.standardization.request.MAPS`.
            called: what the columns are called.

        Raises:
            ValueError: there are no rows, or some hold NaN or infinity.
        """
        if not self.count:
            raise ValueError(f"standardize: {called} have no rows")
        if kind == "range":
            scale, shift = self._high / 2 - self._low / 2, self._high / 2 + self._low / 2
        else:
            scale, shift = np.sqrt(self._squares / self.count), self._mean
        wrong = np.flatnonzero(~(np.isfinite(scale) & np.isfinite(shift)))
        if wrong.size:
            raise ValueError(
                f"standardize: {called} hold NaN, infinity or numbers too large to be squared, "
                f"first in column {wrong[0]}; leave those rows out, or fill them"
            )
        # A constant column has no scale of its own, and must not blow up on new data.
        constant = (self._high == self._low) | (scale == 0)
        return AffineMap(np.where(constant, 1.0, scale), np.where(constant, self._low, shift))
