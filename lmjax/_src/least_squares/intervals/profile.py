"""Intervals from the profiles of the cost: ``Solution.profile_intervals``.

The profile of a parameter is the least cost over all others as a function of its value. The
interval is where it rises by no more than ½ s² F, with F the quantile of Fisher's distribution of 1
and m - P degrees of freedom: the likelihood ratio's interval. Sources: D. M. Bates, D. G. Watts,
"Nonlinear Regression Analysis and its Applications", 1988, chapter 6; W. N. Venables, B. D. Ripley,
"Modern Applied Statistics with S", 4th ed. 2002, section 8.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.interval import Interval
from lmjax._src.least_squares.intervals.around import Around, around
from lmjax._src.least_squares.intervals.end_search import EndSearch
from lmjax._src.least_squares.intervals.held_fits import held_fits
from lmjax._src.least_squares.intervals.lanes import Lane
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.status import ConvergenceWarning
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime.user_warnings import warn
from lmjax._src.typing import Array, NumpyArray

#: A profile counts as one that never reaches the level where it has not at so many times the
#: expected distance, or the size of the parameter; by whether the dtype is double.
_FAR = {True: 1e8, False: 1e5}

#: How near the root of the rise has to come to that of the level, a fraction of it, before the last
#: interpolation.
_TOLERANCE = {True: 1e-7, False: 1e-4}

#: The first distance for a parameter that the data do not determine, as a fraction of its size: no
#: number whose multiples meet zero, where such a parameter may have a pole.
_UNKNOWN = 0.37

#: A cost that is lower than the solution's by this fraction of the rise at the end is told; less
#: does not move the end by as much.
_LOWER = 1e-3

#: Roundings of the cost that its rise may be off by.
_ROUNDINGS = 16

#: What a squared level is divided by at the least.
_TINY = 1e-300

#: The most parameters that a warning writes out.
_WRITTEN = 12


class Fitted(NamedTuple):
    """A solution, and with what its further fits are made."""

    solver: LevenbergMarquardt
    objective: ResidualObjective
    bounds: Bounds | None
    flat: NumpyArray  #: (P,)
    name: str  #: what the caller has called


def profile_intervals(
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: Array,
    *,
    solver: LevenbergMarquardt,
    level: Array,
    absolute_sigma: bool,
) -> Interval:
    """The intervals of all parameters, each end as params; on the host, in the scope of the
    dtype.
    """
    fitted = Fitted(solver, objective, bounds, np.asarray(flat), "profile_intervals")
    here = looked_around(fitted, level, absolute_sigma)
    lower, upper = ends(fitted, here, range(flat.size), absolute_sigma)
    unflatten = objective.structure.unflatten
    return Interval(unflatten(jnp.asarray(lower)), unflatten(jnp.asarray(upper)))


def looked_around(fitted: Fitted, level: Array, absolute_sigma: bool) -> Around:
    """What there is around the solution, as NumPy arrays.

    Raises:
        ValueError: the cost is not finite.
    """
    _, objective, bounds, flat, name = fitted
    found = around(objective, bounds, flat, level, absolute_sigma=absolute_sigma)
    here: Around = jax.tree.map(np.asarray, found)
    if not np.isfinite(here.cost):
        raise ValueError(
            f"{name}: the cost of the solution is {here.cost}, and only about a minimum of finite "
            "cost there is anything to say; start least_squares elsewhere, or set bounds"
        )
    return here


def ends(
    fitted: Fitted, here: Around, indices: Iterable[int], absolute_sigma: bool
) -> tuple[NumpyArray, NumpyArray]:
    """(lower, upper), each (P,), of the parameters of these ``indices``, where their profiles rise
    by ½ (quantile · deviation)²; the solution itself for the others.
    """
    flat = fitted.flat
    limits = limits_of(fitted)
    lanes = _lanes(here, limits, flat, indices, absolute_sigma)
    _search(fitted, here, lanes)
    found = np.stack([flat, flat])
    for lane in lanes:
        found[int(lane.side > 0), lane.index] = lane.end
    # An end that is a bound is that number, not a sum that rounds to its neighbour.
    lower, upper = np.clip(found, limits.lower, limits.upper)
    return lower, upper


def limits_of(fitted: Fitted) -> Bounds:
    """The bounds as NumPy arrays (P,)."""
    if fitted.bounds is not None:
        return Bounds(np.asarray(fitted.bounds.lower), np.asarray(fitted.bounds.upper))  # type: ignore[arg-type]
    endless = np.full_like(fitted.flat, np.inf)
    return Bounds(-endless, endless)  # type: ignore[arg-type]


def _lanes(
    here: Around,
    limits: Bounds,
    flat: NumpyArray,
    indices: Iterable[int],
    absolute_sigma: bool,
) -> list[Lane]:
    """The ends that are to be searched for, some of them known already."""
    lanes = []
    for index in indices:
        for side, bound in ((-1, limits.lower), (1, limits.upper)):
            own, limit = float(flat[index]), side * (float(bound[index]) - float(flat[index]))
            if limit > 0 and limits.lower[index] < limits.upper[index]:
                search = _begun(here, index, abs(own), limit, flat.dtype == np.float64)
                lanes.append(Lane(index, side, flat, here.directions[index], search))
                if not absolute_sigma and here.degrees <= 0:
                    search.end = limit  # nothing is known of the noise
    return lanes


def _begun(here: Around, index: int, size: float, limit: float, double: bool) -> EndSearch:
    epsilon = float(np.finfo(np.float64 if double else np.float32).eps)
    expected = max(_expected(here, index, size), 2 * epsilon * size)
    level = float(here.quantile * here.deviation) / math.sqrt(2)
    noise = _ROUNDINGS * epsilon * float(here.cost)
    search = EndSearch(
        level=level,
        expected=expected,
        limit=limit,
        far=_FAR[double] * max(expected, size),
        tolerance=max(_TOLERANCE[double], noise / max(level**2, _TINY)),
        size=size,
        epsilon=epsilon,
    )
    if level == 0:  # a perfect fit leaves no noise
        search.end = 0.0 if np.isfinite(here.alone[index]) else limit
    return search


def _expected(here: Around, index: int, size: float) -> float:
    """The distance of an end in a linear model; where the data do not determine the parameters,
    what it would be if the others were known.
    """
    for error in (here.errors[index], here.alone[index]):
        distance = float(here.quantile * error)
        if 0 < distance < math.inf:
            return distance
    return _UNKNOWN * (size or 1.0)


def _search(fitted: Fitted, here: Around, lanes: list[Lane]) -> None:
    """Tries distances of all lanes, in one batch, until their ends are known."""
    solver, objective, bounds, flat, _ = fitted
    cost = float(here.cost)
    # Parameters without influence are nothing to fit, and would keep J from its full rank.
    held = np.tile(~np.isfinite(here.alone), (len(lanes), 1))
    held[np.arange(len(lanes)), [lane.index for lane in lanes]] = True
    best, lowest = flat, 0.0
    while searching := [k for k, lane in enumerate(lanes) if lane.search.end is None]:
        # Lanes whose ends are known stay in the batch, which is compiled once, at its minimum.
        starts = np.broadcast_to(flat, (len(lanes), 2, flat.size)).copy()
        for k in searching:
            starts[k] = lanes[k].starts(lanes[k].search.trial)
        fits = held_fits(solver, objective, bounds, flat, held, starts)
        rises = np.where(np.isfinite(fits.rise), fits.rise, np.inf)
        for k in searching:
            lanes[k].tell(fits.params[k], float(rises[k]), int(fits.status[k]))
        if np.min(rises) < lowest:
            best, lowest = fits.params[np.argmin(rises)], float(np.min(rises))
    noise = _ROUNDINGS * float(np.finfo(flat.dtype).eps) * cost
    if lanes and lowest < -max(_LOWER * lanes[0].search.level ** 2, noise):
        warn_of_better(fitted, cost, best, lowest)
    _warn_of_unfinished(fitted, [lane for lane in lanes if lane.is_doubtful])


def warn_of_better(fitted: Fitted, cost: float, best: NumpyArray, rise: float) -> None:
    """Says that the cost is lower at ``best`` (P,), by ``rise``, which is negative."""
    name = fitted.objective.structure.name
    values = [f"{name(k)} = {value:.9g}" for k, value in enumerate(best[:_WRITTEN])]
    values += ["…"] * (len(best) > _WRITTEN)
    warn(
        f"{fitted.name}: the solution is not the lowest minimum: its cost is {cost:.9g}, and at "
        f"{', '.join(values)} it is {cost + rise:.9g}. What is returned is about the solution as "
        "it is; run least_squares from these parameters, and ask again",
        ConvergenceWarning,
    )


def _warn_of_unfinished(fitted: Fitted, lanes: list[Lane]) -> None:
    if lanes:
        name = fitted.objective.structure.name
        which = ", ".join(
            f"the {'upper' if lane.side > 0 else 'lower'} end of {name(lane.index)}"
            for lane in lanes
        )
        warn(
            f"{fitted.name}: fits of the other parameters beyond {which} have found no minimum, "
            "so that the interval may be too short there: parameters depend on each other in ways "
            "that rounding hides, or a solver with more max_steps may go on",
            ConvergenceWarning,
        )
