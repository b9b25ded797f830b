"""The last digits of a converged least-squares problem."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax.bounds import Bounds
from lmjax.objectives import ResidualObjective
from lmjax.orthogonal import solve_columns

#: Steps of the final phase at the most, the factor by which each must be shorter than the one before, and the longest
#: first step, as a fraction of the parameters. Gauss-Newton converges at least linearly near a solution; rounding shows
#: as steps that no longer shrink.
MAX_STEPS, SHRINKING, FIRST_STEP = 30, 0.9, 1e-3

#: The most parameters for which the QR factorisations are worth their time.
MAX_PARAMETERS = 256


class _Phase(NamedTuple):
    params: jax.Array
    values: jax.Array
    step: jax.Array  #: the Gauss-Newton step from ``params``
    length: jax.Array  #: its length in the norm of the columns' lengths
    evaluations: jax.Array
    go_on: jax.Array


def polish(
    objective: ResidualObjective, bounds: Bounds | None, params: jax.Array, converged: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Undamped Gauss-Newton steps by QR for as long as each is shorter than the last; (params, cost, evaluations).

    Near a minimum the cost is flat: with ε the rounding unit, parameters that differ by √ε have the same cost, so
    that a test for its decrease stops at half of the digits. The steps themselves are good to ε times the condition
    number of J (not its square, since JᵀJ is not formed). The cost may not rise by more than its rounding. ``params``
    come back as they are unless ``converged``, a scalar, is True.
    """

    def measure(params: jax.Array, evaluations: jax.Array) -> tuple[_Phase, jax.Array]:
        residuals, jacobian = objective.residuals_and_jacobian(params)
        free = jnp.ones_like(params, bool) if bounds is None else bounds.free(params, residuals @ jacobian)
        step, lengths = solve_columns(jnp.where(free, jacobian, 0), -residuals)
        size = jnp.linalg.norm(lengths * params)
        return _Phase(params, residuals, step, jnp.linalg.norm(lengths * step), evaluations + 1, jnp.asarray(True)), size

    def advance(phase: _Phase) -> _Phase:
        target = phase.params + phase.step
        following, size = measure(target if bounds is None else bounds.project(target), phase.evaluations)
        noise = jnp.finfo(params.dtype).eps * size * jnp.linalg.norm(phase.values)
        good = (following.length <= SHRINKING * phase.length) & (objective.reduction(phase.values, following.values) >= -noise)
        stay = phase._replace(evaluations=following.evaluations, go_on=jnp.asarray(False))
        return jax.tree.map(lambda new, old: jnp.where(good, new, old), following, stay)

    start, size = measure(params, jnp.zeros((), jnp.int32))
    # A column of zeros, or one that depends on others, makes the step NaN or endless: there is nothing to polish.
    start = start._replace(go_on=converged & (start.length <= FIRST_STEP * size))
    end = jax.lax.while_loop(lambda phase: phase.go_on & (phase.evaluations <= MAX_STEPS), advance, start)
    return end.params, objective.cost(end.values), end.evaluations
