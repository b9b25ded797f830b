"""The end of a least-squares run: is it a minimum, as J itself says, and what are its last
digits?
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays import vectors
from lmjax._src.arrays.orthogonal import Projection, solve_columns
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.objectives.cost_noise import cost_noise
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime import batched_loop, control_flow
from lmjax._src.typing import PyTree

#: Steps of the final phase at the most, the factor by which each should be shorter than the one
#: before, how many that are not end the phase, and the longest first step, as a fraction of the
#: parameters. Gauss-Newton converges at least linearly near a solution, but its first step can be
#: shorter than the second (NIST's Thurber, second start); rounding shows as steps that no longer
#: shrink, or are shorter than one rounding of all parameters.
MAX_STEPS, SHRINKING, MISSES, FIRST_STEP = 30, 0.9, 2, 1e-3

#: By how many roundings of a column of J its direction is uncertain: those of its entries, and of
#: the columns that are taken out of it.
COLUMN_ROUNDINGS = 16

#: The fraction of the cost that a direction lost in rounding may promise, in a precision that is no
#: double: there, such a direction may be a valley that double precision would follow. And the
#: fraction of the cost, for each parameter over the residuals, that a direction without meaning
#: promises by chance: as far as ten times that is below a hundredth it is no sign of a valley.
DOUBTFUL, CHANCE, MEANINGLESS = 1e-4, 10.0, 1e-2

#: By how many roundings of all parameters the cost may rise; steps of Misra1b (NIST) that gain
#: three digits raise it by one.
ROUNDINGS = 16

#: The most parameters for which the QR factorisations are worth their time.
MAX_PARAMETERS = 256


class Promise(NamedTuple):
    """What the model without damping promises by QR of J, its columns scaled to length one:
    fractions of the cost.
    """

    clear: jax.Array  #: along directions that rounding leaves
    lost: jax.Array  #: along those that it does not, which may be any direction
    pivot: jax.Array  #: the least fraction of a column that is left beside those before it
    silent: jax.Array  #: whether a free column is zero


class End(NamedTuple):
    """What became of a run that called itself converged, or at its end."""

    params: jax.Array
    cost: jax.Array
    evaluations: jax.Array
    confirmed: jax.Array  #: whether J by itself promises no reduction that can be seen
    #: whether columns of J depend on each other to within rounding, or are zero, with residuals
    #: left
    singular: jax.Array
    dependent: jax.Array  #: whether they do to half of the digits


class _Phase(NamedTuple):
    params: jax.Array
    values: jax.Array  #: what the cost is summed from
    cost: jax.Array
    gauss_newton: jax.Array  #: the Gauss-Newton step from ``params``
    length: jax.Array  #: its length in the norm of the columns' lengths
    step: jax.Array  #: the step to take
    #: parameters, cost, length, promise and noise where the length was least
    best: tuple[jax.Array, jax.Array, jax.Array, Promise, jax.Array]
    misses: jax.Array  #: steps that were not shorter
    evaluations: jax.Array
    go_on: jax.Array


def last_digits(
    objective: ResidualObjective,
    bounds: Bounds | None,
    params: jax.Array,
    ended: jax.Array,
    confirmation: float,
    max_steps: jax.Array,
) -> End:
    """Undamped Gauss-Newton steps by QR for as long as they get shorter, to where they are
    shortest, and what J says of that point.

    Near a minimum the cost is flat: with ε the rounding unit, parameters that differ by √ε have the
    same cost, so that a test for its decrease stops at half of the digits. The steps themselves are
    good to ε times the condition number of J (not its square, since JᵀJ is not formed). The cost
    may not rise by more than its rounding. ``params`` come back as they are unless ``ended``, a
    scalar, is True, and with a ``max_steps`` of zero, which only asks J.

    A run judges what is left to gain by JᵀJ, in which rounding hides whatever lies along directions
    with singular values below √ε of the largest. Here it is ½‖Qᵀr‖² of J = QR, whose directions are
    good to ε over their pivots in R, and whose columns may be as short as numbers go.

    Args:
        objective: the residuals.
        bounds: where the parameters may lie.
        params: where the run ended, (P,).
        ended: whether it did.
        confirmation: the fraction of the cost that may be left to gain.
        max_steps: how many steps may be taken.
    """

    def running(problem: PyTree, phase: _Phase) -> jax.Array:
        return phase.go_on & (phase.evaluations <= problem[2])

    def alone(problem: PyTree, phase: _Phase) -> _Phase:
        return control_flow.while_loop(partial(running, problem), partial(_advance, problem), phase)

    zero = jnp.zeros((), params.dtype)
    values = jnp.zeros(objective.num_residuals(params), params.dtype)
    nothing = jnp.zeros_like(params)
    count = jnp.zeros((), jnp.int32)
    best = params, zero, zero, Promise(zero, zero, zero, jnp.asarray(False)), zero
    start = _Phase(
        params, values, zero, nothing, zero, nothing, best, count, count, jnp.asarray(ended)
    )
    loop = batched_loop.Loop(running, _advance, alone, values.nbytes * params.size)
    end = batched_loop.run(loop, (objective, bounds, max_steps), start)
    params, cost, _, promise, noise = end.best
    allowed = jnp.maximum(confirmation * cost, noise)
    by_chance = _by_chance(values.size, params.size)
    lost = promise.lost * cost > jnp.maximum((by_chance or DOUBTFUL) * cost, noise)
    # A lost direction is a random one, whose part is taken out of the columns after it.
    allowed = jnp.maximum(allowed, promise.lost * cost * by_chance)
    confirmed = (promise.clear * cost <= allowed) & ~(lost & (values.dtype != jnp.float64))
    singular = lost | (promise.silent & (cost > ROUNDINGS * noise))
    return End(
        params,
        cost,
        end.evaluations,
        confirmed,
        singular,
        promise.pivot < float(jnp.finfo(values.dtype).eps) ** 0.5,
    )


def _by_chance(num_residuals: int, num_params: int) -> float:
    """The fraction of the cost that random directions may promise without meaning anything; zero
    where that is too much to be told.
    """
    share = CHANCE * num_params / num_residuals
    return share if share <= MEANINGLESS else 0.0


def _promise(found: Projection, residuals: jax.Array, free: jax.Array) -> Promise:
    """From the shares of the residuals along the orthogonal columns, each of which is uncertain by
    rounding over its pivot.
    """
    epsilon = float(jnp.finfo(residuals.dtype).eps)
    length = vectors.length(residuals)
    fractions = jnp.square(found.shares / jnp.where(length > 0, length, 1))
    uncertain = jnp.square(COLUMN_ROUNDINGS * epsilon / jnp.maximum(found.pivots, epsilon))
    clear, lost = jnp.maximum(fractions - uncertain, 0), jnp.minimum(fractions, uncertain)
    return Promise(
        jnp.sum(clear), jnp.sum(lost), jnp.min(found.pivots), jnp.any(free & (found.lengths == 0))
    )


def _advance(problem: tuple[ResidualObjective, Bounds | None, jax.Array], phase: _Phase) -> _Phase:
    """Takes the step that ``phase`` plans, none at the start, and plans the next one; or ends the
    phase.
    """
    objective, bounds, _ = problem
    params = (
        phase.params + phase.step if bounds is None else bounds.project(phase.params + phase.step)
    )
    values, residuals, jacobian = objective.model_rows(params)
    free = (
        jnp.ones_like(params, bool) if bounds is None else bounds.free(params, residuals @ jacobian)
    )
    found = solve_columns(jnp.where(free, jacobian, 0), -residuals)
    step, lengths = found.step, found.lengths
    size, length = vectors.length(lengths * params), vectors.length(lengths * step)
    cost, first = objective.cost(values), phase.evaluations == 0
    level = first | (
        objective.reduction(phase.values, values) >= -ROUNDINGS * cost_noise(phase.cost, size)
    )
    misses = phase.misses + ~(first | (length <= SHRINKING * phase.length))
    good = level & (misses < MISSES) & jnp.isfinite(length)
    better = first | (level & (length < phase.best[2]))
    here = params, cost, length, _promise(found, residuals, free), cost_noise(cost, size)
    best = jax.tree.map(partial(jnp.where, better), here, phase.best)
    # A column of zeros, or one that depends on others, makes the step NaN or endless: there is
    # nothing to polish.
    go_on = (
        (first | good)
        & (length > jnp.finfo(params.dtype).eps * size)
        & (~first | (length <= FIRST_STEP * size))
    )
    planned = jnp.where(
        first, step, _extrapolated(step, step - phase.gauss_newton, params - phase.params, lengths)
    )
    return _Phase(
        params, values, cost, step, length, planned, best, misses, phase.evaluations + 1, go_on
    )


def _extrapolated(
    step: jax.Array, change: jax.Array, moved: jax.Array, lengths: jax.Array
) -> jax.Array:
    """The step to where steps would vanish, if they go on to change along the last move as they did
    in it.

    Gauss-Newton steps shrink by a constant factor where residuals are left, 0.67 for Thurber
    (NIST); so they soon vanish. Source: D. G. Anderson, "Iterative procedures for nonlinear
    integral equations", J. ACM 12, 1965, with one step of memory.
    """
    weighted = lengths * change
    squared = vectors.dot(weighted, weighted)
    share = vectors.dot(weighted, lengths * step) / jnp.where(squared > 0, squared, 1)
    return step - share * (moved + change)
