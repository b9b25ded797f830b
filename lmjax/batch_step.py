"""One Levenberg-Marquardt step on one mini-batch, with momentum and damping that are carried from batch to batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from lmjax.damping import DampingState, select
from lmjax.objectives import SupervisedObjective

if TYPE_CHECKING:
    from lmjax.solver import LevenbergMarquardt


class BatchState(NamedTuple):
    """What is carried from batch to batch beside the parameters; scalars but for ``scaling`` and ``change`` (P,)."""

    damping: DampingState
    scaling: jax.Array
    change: jax.Array  #: of the last step; zero after a rejected one
    num_batches: jax.Array
    num_accepted: jax.Array


def initial_batch_state(params: jax.Array) -> BatchState:
    """The state before the first batch, which sets damping and scaling."""
    zero, count = jnp.zeros((), params.dtype), jnp.zeros((), jnp.int32)
    return BatchState(DampingState(zero, zero), jnp.zeros_like(params), jnp.zeros_like(params), count, count)


def batch_step(
    solver: LevenbergMarquardt, momentum: float, objective: SupervisedObjective, params: jax.Array, state: BatchState
) -> tuple[jax.Array, BatchState, jax.Array]:
    """One step from ``params`` (P,) on the rows of ``objective``, a batch; returns (params, state, loss before the step).

    The step s minimises the Gauss-Newton model of the batch's loss plus ½ λ ‖s - μ s₋‖², with μ the momentum and s₋ the
    last step: directions of which this batch says nothing go on as earlier batches left them. With fewer residuals
    than parameters this is a regularised projection onto the batch's linear equations, as in Kaczmarz' method. A step
    that does not lower the loss of its own batch is dropped, and λ grows.

    References:
        G. Goldshlager, N. Abrahamsen, L. Lin, "A Kaczmarz-inspired approach to accelerate the optimization of neural
        network wavefunctions", J. Comput. Phys. 516, 2024 (SPRING).
    """
    solver = solver.resolved(objective, params)
    linearization = solver.linear.prepare(objective.linearize(params, solver.linear.form))
    scaling = solver.scaling.update(state.scaling, linearization.diagonal)
    first = state.num_batches == 0
    start = solver.damping.init(linearization.diagonal, scaling)
    damping = select(first, start, state.damping)
    ahead = momentum * state.change
    factors = solver.linear.factor(linearization, damping.damping, scaling)
    change = ahead + solver.linear.solve(factors, linearization.source_after(ahead))
    predicted = -jnp.vdot(change, linearization.gradient + 0.5 * linearization.curvature.product(change))
    values = objective.evaluate(params + change)
    reduction = objective.reduction(linearization.values, values)
    accepted = (predicted > 0) & (reduction > 0) & jnp.isfinite(objective.cost(values))
    gain_ratio = reduction / jnp.where(predicted > 0, predicted, 1)
    damping = select(accepted, solver.damping.accept(damping, gain_ratio), solver.damping.reject(damping))
    # A batch that is not finite where we stand says nothing; without this λ would grow for ever.
    damping = select(jnp.isfinite(linearization.cost), damping, state.damping)
    state = BatchState(
        damping, scaling, jnp.where(accepted, change, 0), state.num_batches + 1, state.num_accepted + accepted.astype(jnp.int32)
    )
    return jnp.where(accepted, params + change, params), state, linearization.cost
