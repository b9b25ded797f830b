"""What a report of a curve fit knows beside that of any residuals: names, data, their errors."""

from __future__ import annotations

import inspect

import jax
import numpy as np

from lmjax._src.least_squares.measurements import Measurements
from lmjax._src.least_squares.reports.origin import Origin
from lmjax._src.runtime import precision
from lmjax._src.typing import NumpyArray, TreeFn


def origin_of(curve: TreeFn, data: Measurements, start: NumpyArray, absolute_sigma: bool) -> Origin:
    """Of the fit of a ``curve`` (x, p₁, …, pₙ) from ``start`` (n,)."""
    return Origin(start, _total(data), _labels(curve, start.size), absolute_sigma)


def _labels(curve: TreeFn, count: int) -> tuple[str, ...] | None:
    """The names in the curve's signature; None where there are others."""
    try:
        parameters = list(inspect.signature(curve).parameters.values())[1:]
    except (TypeError, ValueError):  # built-in functions may have none
        return None
    names: list[str] = []
    for each in parameters:
        if each.kind is each.VAR_POSITIONAL:
            names += [f"{each.name}[{k}]" for k in range(count - len(names))]
            break
        names.append(each.name)
    return tuple(names[:count]) if len(names) >= count else None


def _total(data: Measurements) -> float:
    """The sum of squares of the data about their mean, in units of their errors.

    With weights as R's ``summary.lm`` has it: what is left after (generalised) least squares for
    one constant.
    """
    y, one = data.y, np.ones_like(data.y)
    if data.whitening is not None:
        columns = np.stack([y, one], axis=1)
        if data.is_separate:
            columns = columns / data.whitening[:, None]
        else:
            with precision.scope(np.float64):
                columns = np.asarray(
                    jax.scipy.linalg.solve_triangular(data.whitening, columns, lower=True)
                )
        y, one = columns.T
    weights = np.ones_like(y) if data.weights is None else data.weights
    with np.errstate(all="ignore"):
        counts = weights > 0
        y, one, weights = y[counts], one[counts], weights[counts]
        mean = np.sum(weights * one * y) / np.sum(weights * one**2)
        return float(np.sum(weights * (y - mean * one) ** 2))
