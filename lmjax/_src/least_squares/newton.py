"""Second derivatives for runs that get no further: the minima and saddles at which J is singular
and residuals are left.

At a minimum of that kind the Gauss-Newton model promises a reduction that the residuals' second
derivatives forbid, so that no damping lowers the cost and nothing says that this is the minimum. At
a saddle, as where two exponentials have become one, it promises none though the cost falls to
either side. The full Hessian tells these points from each other and from one where a run is stuck.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import lapack, vectors
from lmjax._src.arrays.products import product
from lmjax._src.least_squares.final_digits import MAX_PARAMETERS, ROUNDINGS
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.damping import select
from lmjax._src.objectives.cost_noise import cost_noise
from lmjax._src.objectives.jacobians import Jacobians
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime import control_flow
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.typing import Params

if TYPE_CHECKING:
    from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt

#: Multiplications that a Hessian may cost, m P² and a few for each residual: about a second on a
#: slow core.
MAX_OPERATIONS = 1e8

#: Steps at the most, and what is left of the promised reduction after each, at the most, for
#: another one to be taken.
MAX_STEPS, LEFT = 10, 0.25

#: How many distances from a saddle are tried to either side, each half of the one before, from
#: where the second-order term is all of the cost to where it is as small as rounding.
DISTANCES = 26

#: How many saddles a run leaves, each for a cost that is visibly lower.
MAX_SADDLES = 8


class Minimum(NamedTuple):
    """What Newton's method made of a point."""

    params: jax.Array  #: (P,)
    cost: jax.Array
    evaluations: jax.Array
    found: jax.Array  #: whether the cost has a minimum there, to within rounding
    saddle: jax.Array  #: whether the cost falls from the point that was asked about, to either side
    left: jax.Array  #: whether these parameters lie beside it, with a lower cost


class _Point(NamedTuple):
    """The cost around some parameters, to second order."""

    params: jax.Array
    values: jax.Array  #: what the cost is summed from
    cost: jax.Array
    step: jax.Array  #: to the minimum of the model
    promised: jax.Array  #: the reduction of the cost which the model promises for it
    convex: jax.Array  #: whether the model has a minimum, clear of rounding
    noise: jax.Array  #: the largest reduction of the cost that cannot be seen
    tiny: jax.Array  #: whether the step is shorter than half of the digits of the parameters
    #: whether the cost falls along some direction to either side, clear of rounding
    indefinite: jax.Array
    downhill: jax.Array  #: that direction, (P,), so long that the second-order term is all of it


def settled(
    solver: LevenbergMarquardt, objective: ResidualObjective, bounds: Bounds | None, params: Params
) -> Minimum | None:
    """The minimum near ``params`` (P,), where a run got no further; None where that is not looked
    for, by size or options.
    """
    # Without acceleration, second derivatives in forward mode may not exist.
    if not (solver.polish and solver.geodesic_acceleration and params.size <= MAX_PARAMETERS):
        return None
    if objective.num_residuals(params) * params.size**2 > MAX_OPERATIONS:
        return None
    return minimum_near(
        objective,
        bounds,
        params,
        solver.jacobian_chunk,
        np.asarray(solver.confirmation, params.dtype),
    )


@recent(static_argnums=(3,), effort=Effort.QUICK)
def minimum_near(
    objective: ResidualObjective,
    bounds: Bounds | None,
    params: jax.Array,
    chunk: int | None,
    confirmation: jax.Array,
) -> Minimum:
    """Newton's steps from ``params`` (P,) for as long as they shrink; the cost does not rise by
    more than its rounding.

    A minimum is found where the Hessian of the free parameters is positive definite, with a
    condition number that leaves half of the digits, and the reduction that it promises is at most
    ``confirmation`` of the cost, or cannot be seen; or where steps of rounding's size shrink no
    more.

    Source: J. Nocedal, S. J. Wright, "Numerical Optimization", 2006, theorems 2.4 and 3.5.

    Args:
        objective: its residuals must have second derivatives in forward mode.
        bounds: where the parameters may lie.
        params: where to start.
        chunk: how many columns of the Hessian are computed at once; None for as many as memory
            allows.
        confirmation: a fraction of the cost.
    """

    def go_on(carry: tuple[_Point, _Point, jax.Array, jax.Array]) -> jax.Array:
        _, point, count, stalled = carry
        return point.convex & ~stalled & (count <= MAX_STEPS)

    def advance(
        carry: tuple[_Point, _Point, jax.Array, jax.Array],
    ) -> tuple[_Point, _Point, jax.Array, jax.Array]:
        start, point, count, _ = carry
        first, moved = count == 0, point.params + point.step
        trial = _point(objective, bounds, moved if bounds is None else bounds.project(moved), chunk)
        level = objective.reduction(start.values, trial.values) >= -ROUNDINGS * start.noise
        better = first | (level & trial.convex & (trial.promised < point.promised))
        stalled = ~better | (trial.promised > LEFT * point.promised)
        return select(first, trial, start), select(better, trial, point), count + 1, stalled

    nothing, zero = jnp.zeros_like(params), jnp.zeros((), params.dtype)
    values, endless = jnp.zeros(objective.num_residuals(params), params.dtype), zero + jnp.inf
    # The first step is none, so that the program has the Hessian once.
    no = jnp.asarray(False)
    before = _Point(
        params, values, zero, nothing, endless, jnp.asarray(True), zero, no, no, nothing
    )
    _, end, count, stalled = control_flow.while_loop(
        go_on, advance, (before, before, jnp.zeros((), jnp.int32), no)
    )
    stationary = end.promised <= jnp.maximum(confirmation * end.cost, end.noise)
    found = end.convex & (stationary | (stalled & end.tiny))
    beside, cost, evaluations = control_flow.cond(
        end.indefinite,
        lambda: _beside(objective, bounds, end),
        lambda: (end.params, end.cost, jnp.zeros_like(count)),
    )
    left = cost < end.cost - ROUNDINGS * end.noise
    params, cost = jnp.where(left, beside, end.params), jnp.where(left, cost, end.cost)
    return Minimum(params, cost, count + evaluations, found, end.indefinite, left)


def _beside(
    objective: ResidualObjective, bounds: Bounds | None, point: _Point
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(params, cost, evaluations): the lowest of some points to both sides of a saddle."""

    def moved(distance: jax.Array) -> jax.Array:
        params = point.params + distance * point.downhill
        return params if bounds is None else bounds.project(params)

    def cost(distance: jax.Array) -> jax.Array:
        cost = objective.cost(objective.evaluate(moved(distance)))
        return jnp.where(jnp.isfinite(cost), cost, jnp.inf)

    halves = jnp.asarray([0.5**k for k in range(DISTANCES)], point.params.dtype)
    distances = jnp.concatenate([halves, -halves])
    costs = jax.lax.map(cost, distances)
    best = jnp.argmin(costs)
    return moved(distances[best]), costs[best], jnp.asarray(distances.size, jnp.int32)


def _point(
    objective: ResidualObjective, bounds: Bounds | None, params: jax.Array, chunk: int | None
) -> _Point:
    def gradient_of(params: jax.Array) -> jax.Array:
        _, residuals, jacobian = objective.model_rows(params)
        return product(residuals, jacobian)

    values, _, jacobian = objective.model_rows(params)
    cost, lengths, epsilon = (
        objective.cost(values),
        jnp.linalg.norm(jacobian, axis=0),
        jnp.finfo(params.dtype).eps,
    )
    gradient, hessian = Jacobians("forward", chunk).compute(gradient_of, params)
    if bounds is not None:
        free = bounds.free(params, gradient)
        gradient = jnp.where(free, gradient, 0)
        hessian = jnp.where(
            free[:, None] & free, hessian, jnp.diag(jnp.where(free, 0, jnp.ones_like(params)))
        )
    diagonal = jnp.diagonal(hessian)
    scale = jax.lax.rsqrt(
        jnp.where(diagonal > 0, diagonal, jnp.where(lengths > 0, jnp.square(lengths), 1))
    )
    # NaN where the Hessian is not finite.
    curvatures, axes = lapack.eigh(scale[:, None] * hessian * scale)
    convex = jnp.all(diagonal > 0) & (curvatures[0] > jnp.sqrt(epsilon))
    slopes = product(scale * gradient, axes)
    along = slopes / jnp.where(convex, curvatures, 1)
    step = -scale * product(axes, along)
    size = vectors.length(lengths * params)
    noise = cost_noise(cost, size)
    tiny = vectors.length(lengths * step) <= jnp.sqrt(epsilon) * size
    indefinite = curvatures[0] < -jnp.sqrt(epsilon) * curvatures[-1]
    downhill = scale * axes[:, 0]
    reach = jnp.sqrt(2 * cost / jnp.where(indefinite, -curvatures[0], 1))
    downhill = jnp.where(indefinite, reach, 0) * downhill
    return _Point(
        params,
        values,
        cost,
        step,
        0.5 * jnp.sum(slopes * along),
        convex,
        noise,
        tiny,
        indefinite,
        downhill,
    )
