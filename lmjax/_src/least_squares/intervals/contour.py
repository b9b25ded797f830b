"""Joint confidence regions of two parameters: ``Solution.contour``.

The cost is lowered over all other parameters at every point of a grid. A region of any shape shows
on a grid, also one in several parts, where a curve that is traced may lose its way. The joint
region of confidence is where the cost rises by no more than s² F, with F the quantile of Fisher's
distribution of 2 and m - P degrees of freedom. Source: D. M. Bates, D. G. Watts, "Nonlinear
Regression Analysis and its Applications", 1988, chapter 6.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from lmjax._src.arrays.structure import Structure
from lmjax._src.least_squares.intervals.around import Around
from lmjax._src.least_squares.intervals.held_fits import held_fits
from lmjax._src.least_squares.intervals.profile import (
    Fitted,
    ends,
    limits_of,
    looked_around,
    warn_of_better,
)
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.typing import Array, NumpyArray

#: By which part of its width the grid goes beyond the region on either side.
_MARGIN = 0.05

#: By how many of the distances that a linear model promises a side is drawn that has no end.
_ENDLESS = 4.0

#: The grid is gone over again, each fit from the ends of its neighbours, while one of them lowers
#: the cost by this part of the rise at the level; so often at the most.
_IMPROVED, _PASSES = 1e-3, 12


@dataclasses.dataclass(frozen=True)
class Contour:
    """How well the data determine two parameters together, as ``Solution.contour`` returns it.

    For a plot: ``ax.contour(c.first, c.second, c.confidence, levels=[0.68, 0.95])``.

    Attributes:
        first: values of the first parameter, (k,), ascending.
        second: values of the second one, (k,), ascending.
        confidence: the level of the joint confidence region on whose edge each point lies, from 0
            to 1, (k, k); the first axis is that of ``second``, as Matplotlib has it.
        names: what the two are called.

    Example:
        A line, whose regions are ellipses.

        >>> import numpy as np
        >>> import lmjax
        >>> x, y = np.arange(6.0), np.array([0.1, 0.9, 2.2, 2.8, 4.1, 4.9])
        >>> solution = lmjax.least_squares(lambda p: p["a"] * x + p["b"] - y, {"a": 1.0, "b": 0.0})
        >>> region = solution.contour("a", "b", num=21)
        >>> region.confidence.shape, region.names
        ((21, 21), ("params['a']", "params['b']"))
        >>> bool(region.confidence.min() < 0.2 and region.confidence.max() > 0.95)
        True
    """

    first: NumpyArray
    second: NumpyArray
    confidence: NumpyArray
    names: tuple[str, str]


def contour(
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: Array,
    *,
    solver: LevenbergMarquardt,
    pair: tuple[int, int],
    level: Array,
    num: int,
    absolute_sigma: bool,
) -> Contour:
    """The grid of ``num`` by ``num`` points around the region of that ``level``."""
    fitted = Fitted(solver, objective, bounds, np.asarray(flat), "contour")
    here = looked_around(fitted, level, absolute_sigma)
    degrees = math.inf if absolute_sigma else float(here.degrees)
    if degrees <= 0:
        raise ValueError(
            "contour: there are no more residuals than parameters, so that nothing is known of the "
            "noise; pass absolute_sigma=True where the residuals are in units of theirs"
        )
    if here.deviation == 0:
        raise ValueError(
            "contour: the fit is perfect, and leaves no noise; pass absolute_sigma=True where the "
            "residuals are in units of theirs"
        )
    # F in closed form: P(F > f) = (1 + 2f/ν)^(-ν/2) for 2 and ν degrees of freedom.
    logarithm = -math.log1p(-float(level))
    fisher = logarithm if math.isinf(degrees) else degrees / 2 * math.expm1(2 * logarithm / degrees)
    here = here._replace(quantile=np.asarray(math.sqrt(2 * fisher), fitted.flat.dtype))
    axes = _axes(fitted, here, pair, num, absolute_sigma)
    rise = _rises(fitted, here, pair, axes, fisher * float(here.deviation) ** 2)
    share = np.maximum(rise, 0) / float(here.deviation) ** 2
    if not math.isinf(degrees):
        share = degrees / 2 * np.log1p(2 * share / degrees)
    names = objective.structure.name
    return Contour(*axes, -np.expm1(-share), (names(pair[0]), names(pair[1])))


def index_of(structure: Structure, given: int | str, argument: str) -> int:
    """The index among the flattened parameters of one that is ``given`` by that, or by its name.

    Raises:
        ValueError: there is none.
    """
    names = [structure.name(k) for k in range(structure.size)]
    if isinstance(given, str):
        for form in ("{}", "params{}", "params['{}']", "params.{}"):
            if form.format(given) in names:
                return names.index(form.format(given))
    elif not isinstance(given, bool) and given in range(-len(names), len(names)):
        return int(given) % len(names)
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    raise ValueError(
        f"{argument}: expected an index below {len(names)} or the name of a parameter, such as "
        f"those of {shown}; got {given!r}"
    )


def _axes(
    fitted: Fitted, here: Around, pair: tuple[int, int], num: int, absolute_sigma: bool
) -> tuple[NumpyArray, NumpyArray]:
    """The values of both parameters: from end to end of the region, and a little beyond."""
    flat, limits = fitted.flat, limits_of(fitted)
    both = ends(fitted, here, pair, absolute_sigma)
    axes = []
    for index in pair:
        if limits.lower[index] >= limits.upper[index]:
            name = fitted.objective.structure.name(index)
            raise ValueError(f"contour: {name} is fixed; a region needs two that are not")
        own, promised = float(flat[index]), float(here.quantile * here.errors[index])
        if not 0 < promised < math.inf:
            promised = abs(own) or 1.0
        low, high = (
            float(end[index]) if np.isfinite(end[index]) else own + side * _ENDLESS * promised
            for side, end in zip((-1, 1), both, strict=True)
        )
        margin = _MARGIN * (high - low)
        axis = np.linspace(low - margin, high + margin, num).astype(flat.dtype)
        axes.append(np.clip(axis, limits.lower[index], limits.upper[index]))
    return axes[0], axes[1]


def _rises(
    fitted: Fitted,
    here: Around,
    pair: tuple[int, int],
    axes: tuple[NumpyArray, NumpyArray],
    wanted: float,
) -> NumpyArray:
    """The rise of the cost at all points, (second, first)."""
    solver, objective, bounds, flat, _ = fitted
    num = len(axes[0])
    second, first = np.meshgrid(axes[1], axes[0], indexing="ij")
    values = np.stack([first, second], axis=-1)
    held = np.broadcast_to(~np.isfinite(here.alone), (num * num, flat.size)).copy()
    held[:, pair] = True
    line = flat + (values - flat[list(pair)]) @ _plane(here, pair)
    params, rise = np.where(np.isfinite(line), line, flat), np.full((num, num), np.inf)
    for number in range(_PASSES):
        padded = np.pad(params, ((1, 1), (1, 1), (0, 0)), mode="edge")
        around = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
        if number == 0:
            around = [np.broadcast_to(flat, params.shape)] * 4
        starts = np.stack([params, *around], axis=2)
        starts[..., pair] = values[:, :, None]
        fits = held_fits(
            solver,
            objective,
            bounds,
            flat,
            held,
            starts.reshape(num * num, 5, flat.size).astype(flat.dtype),
        )
        found = np.where(np.isfinite(fits.rise), fits.rise, np.inf).reshape(num, num)
        better = found < rise
        gained = np.max(np.where(better, np.minimum(rise, 1e3 * wanted) - found, 0))
        params = np.where(better[..., None], fits.params.reshape(params.shape), params)
        rise = np.where(better, found, rise)
        if number and gained <= _IMPROVED * wanted:
            break
    if np.min(rise) < -_IMPROVED * wanted:
        lowest = np.unravel_index(np.argmin(rise), rise.shape)
        warn_of_better(fitted, float(here.cost), params[lowest], float(rise[lowest]))
    return rise


def _plane(here: Around, pair: tuple[int, int]) -> NumpyArray:
    """How all parameters move along with a unit of each of the two, the other one held, (2, P)."""
    along = here.directions[list(pair)]
    both = along[:, pair]
    apart = abs(np.linalg.det(both)) > np.finfo(along.dtype).eps ** 0.5
    found: NumpyArray = np.linalg.solve(both, along) if apart else along
    return found
