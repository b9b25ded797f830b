"""Which parameters, or which combinations of them, the data leave undetermined."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmjax._src.typing import NumpyArray

#: What a direction in the null space is made of: parameters whose part of the residuals is at least
#: so much of the largest part. Others are there by rounding, or hardly.
_SIZEABLE = 0.01


class Direction(NamedTuple):
    """A direction in which the parameters may move, and no residual changes to first order."""

    indices: tuple[int, ...]  #: of the parameters that move
    amounts: tuple[float, ...]  #: by how much, in their own units; the first by one


def undetermined(triangle: NumpyArray, lengths: NumpyArray, free: NumpyArray) -> list[Direction]:
    """The directions that span the null space of J, as few parameters in each as elimination
    leaves.

    By the singular value decomposition of J with its columns scaled to length one, so that units
    do not matter (G. H. Golub, C. F. Van Loan, "Matrix Computations", 4th ed., 2013, § 5.5), in
    reduced echelon form.

    Args:
        triangle: R of the scaled J, (P, P), finite.
        lengths: of J's columns, (P,); zero for parameters without influence, which are directions
            by themselves.
        free: which parameters are not known, (P,).
    """
    idle = free & (lengths == 0)
    directions = [Direction((int(k),), (1.0,)) for k in np.flatnonzero(idle)]
    active = np.flatnonzero(free & ~idle)
    if active.size:
        _, values, vectors = np.linalg.svd(triangle[:, active])
        # That of :func:`lmjax._src.least_squares.statistics._factors`, which looks at the pivots;
        # the least singular value lies below the least of those.
        tolerance = 2 * triangle.shape[0] * np.finfo(triangle.dtype).eps * max(values[0], 1)
        for row in _echelon(vectors[values <= tolerance]):
            directions.append(_direction(row, active, lengths))
    return directions


def condition(triangle: NumpyArray) -> float:
    """The 2-norm condition number of the scaled J."""
    values = np.linalg.svd(triangle, compute_uv=False)
    return float(values[0] / values[-1]) if values[-1] > 0 else float("inf")


def _echelon(rows: NumpyArray) -> NumpyArray:
    """Rows that span the same, each with one in a column that is zero in the others: Gauss and
    Jordan's elimination with the largest pivots.
    """
    rows = np.array(rows)
    for k in range(len(rows)):
        i, j = np.unravel_index(np.argmax(np.abs(rows[k:])), rows[k:].shape)
        swapped = [k + int(i), k]
        rows[[k, k + int(i)]] = rows[swapped]
        rows[k] /= rows[k, j]
        others = np.arange(len(rows)) != k
        rows[others] -= np.outer(rows[others, j], rows[k])
    return rows


def _direction(row: NumpyArray, active: NumpyArray, lengths: NumpyArray) -> Direction:
    """One row of the scaled null space, in the units of the parameters."""
    taken = np.flatnonzero(np.abs(row) >= _SIZEABLE * np.max(np.abs(row)))
    indices = active[taken]
    amounts = row[taken] / lengths[indices]
    amounts = amounts / amounts[0]
    return Direction(tuple(map(int, indices)), tuple(map(float, amounts)))
