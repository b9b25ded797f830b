"""The last digits of a converged least-squares problem."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lmjax import control_flow, lanes, vectors
from lmjax.bounds import Bounds
from lmjax.linearization import cost_noise
from lmjax.objectives import ResidualObjective
from lmjax.orthogonal import solve_columns

#: Steps of the final phase at the most, the factor by which each should be shorter than the one before, how many that are
#: not end the phase, and the longest first step, as a fraction of the parameters. Gauss-Newton converges at least linearly
#: near a solution, but its first step can be shorter than the second (NIST's Thurber, second start); rounding shows as steps
#: that no longer shrink, or are shorter than one rounding of all parameters.
MAX_STEPS, SHRINKING, MISSES, FIRST_STEP = 30, 0.9, 2, 1e-3

#: By how many roundings of all parameters the cost may rise; steps of Misra1b (NIST) that gain three digits raise it by one.
ROUNDINGS = 16

#: The most parameters for which the QR factorisations are worth their time.
MAX_PARAMETERS = 256


class _Phase(NamedTuple):
    params: jax.Array
    values: jax.Array  #: what the cost is summed from
    cost: jax.Array
    gauss_newton: jax.Array  #: the Gauss-Newton step from ``params``
    length: jax.Array  #: its length in the norm of the columns' lengths
    step: jax.Array  #: the step to take
    best: tuple[jax.Array, jax.Array, jax.Array]  #: parameters, cost and length where the length was least
    misses: jax.Array  #: steps that were not shorter
    evaluations: jax.Array
    go_on: jax.Array


def polish(
    objective: ResidualObjective, bounds: Bounds | None, params: jax.Array, converged: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Undamped Gauss-Newton steps by QR for as long as they get shorter, to where they are shortest; (params, cost, evaluations).

    Near a minimum the cost is flat: with ε the rounding unit, parameters that differ by √ε have the same cost, so
    that a test for its decrease stops at half of the digits. The steps themselves are good to ε times the condition
    number of J (not its square, since JᵀJ is not formed). The cost may not rise by more than its rounding. ``params``
    come back as they are unless ``converged``, a scalar, is True.
    """

    def running(problem: Any, phase: _Phase) -> jax.Array:
        del problem
        return phase.go_on & (phase.evaluations <= MAX_STEPS)

    def alone(problem: Any, phase: _Phase) -> _Phase:
        return control_flow.while_loop(partial(running, problem), partial(_advance, problem), phase)

    zero = jnp.zeros((), params.dtype)
    values = jnp.zeros(objective.num_residuals(params), params.dtype)
    nothing = jnp.zeros_like(params)
    count = jnp.zeros((), jnp.int32)
    start = _Phase(params, values, zero, nothing, zero, nothing, (params, zero, zero), count, count, jnp.asarray(converged))
    loop = lanes.Loop(running, _advance, alone, values.nbytes * params.size)
    end = lanes.run(loop, (objective, bounds), start)
    return *end.best[:2], end.evaluations


def _advance(problem: tuple[ResidualObjective, Bounds | None], phase: _Phase) -> _Phase:
    """Takes the step that ``phase`` plans, none at the start, and plans the next one; or ends the phase."""
    objective, bounds = problem
    params = phase.params + phase.step if bounds is None else bounds.project(phase.params + phase.step)
    values, residuals, jacobian = objective.model_rows(params)
    free = jnp.ones_like(params, bool) if bounds is None else bounds.free(params, residuals @ jacobian)
    step, lengths = solve_columns(jnp.where(free, jacobian, 0), -residuals)
    size, length = vectors.length(lengths * params), vectors.length(lengths * step)
    cost, first = objective.cost(values), phase.evaluations == 0
    level = first | (objective.reduction(phase.values, values) >= -ROUNDINGS * cost_noise(phase.cost, size))
    misses = phase.misses + ~(first | (length <= SHRINKING * phase.length))
    good = level & (misses < MISSES) & jnp.isfinite(length)
    better = first | (level & (length < phase.best[2]))
    best = jax.tree.map(partial(jnp.where, better), (params, cost, length), phase.best)
    # A column of zeros, or one that depends on others, makes the step NaN or endless: there is nothing to polish.
    go_on = (first | good) & (length > jnp.finfo(params.dtype).eps * size) & (~first | (length <= FIRST_STEP * size))
    planned = jnp.where(first, step, _extrapolated(step, step - phase.gauss_newton, params - phase.params, lengths))
    return _Phase(params, values, cost, step, length, planned, best, misses, phase.evaluations + 1, go_on)


def _extrapolated(step: jax.Array, change: jax.Array, moved: jax.Array, lengths: jax.Array) -> jax.Array:
    """The step to where steps would vanish, if they go on to change along the last move as they did in it.

    Gauss-Newton steps shrink by a constant factor where residuals are left, 0.67 for Thurber (NIST); so they soon vanish.
    Source: D. G. Anderson, "Iterative procedures for nonlinear integral equations", J. ACM 12, 1965, with one step of memory.
    """
    weighted = lengths * change
    squared = vectors.dot(weighted, weighted)
    share = vectors.dot(weighted, lengths * step) / jnp.where(squared > 0, squared, 1)
    return step - share * (moved + change)
