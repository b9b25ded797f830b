"""What a bootstrap returns."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import jax
import numpy as np
from jax.scipy.special import ndtr, ndtri

from lmjax._src.arrays.interval import Interval
from lmjax._src.arrays.structure import Structure
from lmjax._src.levenberg_marquardt.status import is_success
from lmjax._src.runtime import precision
from lmjax._src.typing import NumpyArray, Params, PyTree

#: BCa's corrected levels stay away from 0 and 1 by so much.
_EDGE = 1e-12


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """The fits to n data sets that were drawn again, as ``Solution.bootstrap`` returns them.

    Attributes:
        params: their parameters, structured as those of the solution, with n as the first axis of
            every leaf, NumPy arrays; those of fits that have failed are where these have stopped.
        status_codes: codes of :class:`lmjax.Status`, shape (n,).

    Example:
        The slope of a line through five points.

        >>> import numpy as np
        >>> import lmjax
        >>> x, y = np.arange(5.0), np.array([0.1, 0.9, 2.2, 2.8, 4.1])
        >>> solution = lmjax.least_squares(lambda p: p * x - y, 1.0)
        >>> drawn = solution.bootstrap(0, n=200)
        >>> drawn.params.shape, drawn.num_failed
        ((200,), 0)
        >>> lower, upper = drawn.interval(0.9)
        >>> bool(lower < solution.params < upper)
        True
    """

    params: Params
    status_codes: NumpyArray
    _flat: NumpyArray = dataclasses.field(repr=False)  #: (n, P)
    _solution: NumpyArray = dataclasses.field(repr=False)  #: (P,)
    _acceleration: NumpyArray = dataclasses.field(repr=False)  #: (P,)
    _structure: Structure = dataclasses.field(repr=False)

    @property
    def num_failed(self) -> int:
        """How many of the n fits have found no minimum; the statistics are of the others."""
        return int(np.sum(~self._good))

    def standard_errors(self) -> PyTree:
        """The standard deviations of the parameters over the fits that have not failed.

        Returns:
            A pytree structured and shaped as the solution's params.
        """
        return self._tree(np.std(self._kept(2), axis=0, ddof=1))

    def interval(
        self, level: float = 0.95, kind: Literal["percentile", "bca"] = "percentile"
    ) -> Interval:
        """An interval for each parameter from the quantiles of the fits.

        Args:
            level: the probability, between 0 and 1.
            kind: "percentile" for the quantiles at (1 ± level)/2; "bca" for levels that are
                corrected for bias and skewness (B. Efron, "Better bootstrap confidence intervals",
                1987).

        Returns:
            (lower, upper), each structured and shaped as the solution's params.

        Raises:
            ValueError: ``level`` or ``kind`` is none, or fewer than two fits are left.
        """
        if not 0 < level < 1:
            raise ValueError(
                f"level: expected a probability between 0 and 1, got {level!r}; 0.95 for 95 per "
                "cent"
            )
        if kind not in ("percentile", "bca"):
            raise ValueError(f"kind: expected 'percentile' or 'bca', got {kind!r}")
        kept = self._kept(2)
        shares = np.array([(1 - level) / 2, (1 + level) / 2])[:, None]
        levels = np.broadcast_to(shares, (2, kept.shape[1]))
        if kind == "bca":
            levels = self._corrected(kept, levels)
        # The order statistics of A. C. Davison, D. V. Hinkley, 1997, section 5.2.1.
        ends = [
            [np.quantile(kept[:, k], levels[side, k], method="weibull") for side in (0, 1)]
            for k in range(kept.shape[1])
        ]
        lower, upper = np.array(ends, kept.dtype).T
        return Interval(self._tree(lower), self._tree(upper))

    def _corrected(self, kept: NumpyArray, levels: NumpyArray) -> NumpyArray:
        """The levels of BCa, (2, P)."""
        with precision.scope(np.float64):
            below = (
                np.mean(kept < self._solution, axis=0) + np.mean(kept == self._solution, axis=0) / 2
            )
            edge = 1 / (2 * len(kept))
            bias = ndtri(np.clip(below, edge, 1 - edge))
            sum_ = bias + ndtri(levels)
            found = ndtr(bias + sum_ / (1 - self._acceleration * sum_))
            return np.clip(np.asarray(found), _EDGE, 1 - _EDGE)

    @property
    def _good(self) -> NumpyArray:
        return np.asarray(is_success(self.status_codes)) & np.all(np.isfinite(self._flat), axis=1)

    def _kept(self, least: int) -> NumpyArray:
        kept = self._flat[self._good]
        if len(kept) < least:
            raise ValueError(
                f"bootstrap: {self.num_failed} of {len(self._flat)} fits have failed, and at least "
                f"{least} are needed; look at status_codes"
            )
        return kept

    def _tree(self, vector: NumpyArray) -> PyTree:
        return self._structure.unflatten(vector)


def bootstrap_of(
    structure: Structure,
    solution: NumpyArray,
    flat: NumpyArray,
    rest: tuple[NumpyArray, NumpyArray],
) -> Bootstrap:
    """Of the parameters ``flat`` (n, P) of the fits and the ``rest``: their status codes, and
    accelerations.
    """
    ends = np.cumsum([math.prod(shape) for shape in structure.shapes])[:-1]
    leaves = [
        part.reshape(len(flat), *shape)
        for part, shape in zip(np.split(flat, ends, axis=1), structure.shapes, strict=True)
    ]
    params = jax.tree.unflatten(structure.treedef, leaves)
    return Bootstrap(params, rest[0], flat, solution, rest[1], structure)
