"""Solutions from many starts, ranked and without those that are the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.structure import unflatten_returned
from lmjax._src.least_squares.solution import Solution
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime import precision
from lmjax._src.typing import NumpyArray


@dataclasses.dataclass(frozen=True)
class RankedSolutions(Sequence[Solution]):
    """Solutions from many starts, the lowest cost first; those whose cost is not finite come last.

    A sequence of :class:`Solution`, each with its statistics. Also as arrays:

    Attributes:
        costs: shape (k,).
        counts: how many of the starts led to each, shape (k,).
        status_codes: codes of :class:`lmjax.Status`, shape (k,).

    Example:
        The two square roots of four.

        >>> import lmjax
        >>> found = lmjax.multi_start(0, lambda p: p**2 - 4, (-3.0, 3.0), num_starts=8)
        >>> sorted(round(float(solution.params), 6) for solution in found)
        [-2.0, 2.0]
        >>> len(found), int(found.counts.sum()), found.costs.round(6).tolist()
        (2, 8, [0.0, 0.0])
    """

    costs: NumpyArray
    counts: NumpyArray
    status_codes: NumpyArray
    #: k solutions along the leaves' first axis, without the objective that all have in common
    _batch: Solution = dataclasses.field(repr=False)
    _objective: ResidualObjective = dataclasses.field(repr=False)

    @property
    def best(self) -> Solution:
        """The one with the lowest cost."""
        return self[0]

    def __len__(self) -> int:
        """k."""
        return len(self.costs)

    def __getitem__(self, index: Any) -> Any:
        """The solution of that rank, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        one = jax.tree.map(lambda leaf: leaf[index], self._batch)
        with precision.scope(one._flat.dtype):
            flat = jnp.asarray(one._flat)
        params = unflatten_returned(self._objective.structure, flat, None)
        return dataclasses.replace(one, params=params, _flat=flat, _objective=self._objective)

    def __iter__(self) -> Iterator[Solution]:
        """From the best to the worst."""
        return (self[k] for k in range(len(self)))


def distinct(
    found: Solution,
    counts: NumpyArray,
    spread: NumpyArray,
    merge: float | None,
) -> tuple[NumpyArray, NumpyArray]:
    """(indices, counts) of the solutions that differ, the lowest cost first; ``counts`` says for
    how many starts each of those ``found`` stands.
    """
    order = np.argsort(np.where(np.isfinite(found.cost), found.cost, np.inf), kind="stable")
    flat = found._flat[order]
    chosen: list[int] = []
    sums: list[int] = []
    for k, params in enumerate(flat):
        size = np.maximum(np.maximum(np.abs(flat[chosen]), np.abs(params)), spread)
        close = (
            np.zeros(0, bool)
            if merge is None
            else np.all(np.abs(flat[chosen] - params) <= merge * size, axis=1)
        )
        if close.any():
            sums[int(np.argmax(close))] += int(counts[order[k]])
        else:
            chosen.append(k)
            sums.append(int(counts[order[k]]))
    return order[chosen], np.asarray(sums)
