"""One Levenberg-Marquardt step on one mini-batch, with momentum and damping that are carried from
batch to batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.active_set import Orthants, limited, within_bounds
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.levenberg_marquardt.damping import DampingState, select, strength
from lmjax._src.levenberg_marquardt.state import StepNumbers
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.linearization import Linearization
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.epochs.stages import sums_at_once

if TYPE_CHECKING:
    from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt


class BatchState(NamedTuple):
    """What is carried from batch to batch beside the parameters; scalars but for ``scaling`` and
    ``change`` (P,).
    """

    damping: DampingState
    scaling: jax.Array
    change: Vector  #: of the last step; zero after a rejected one
    num_batches: jax.Array
    num_accepted: jax.Array
    latest: StepNumbers  #: of the last batch


def initial_batch_state(params: jax.Array) -> BatchState:
    """The state before the first batch, which sets damping and scaling."""
    zero, count = jnp.zeros((), params.dtype), jnp.zeros((), jnp.int32)
    return BatchState(
        DampingState(zero, zero),
        jnp.zeros_like(params),
        jnp.zeros_like(params),
        count,
        count,
        StepNumbers.zeros(params.dtype),
    )


def batch_step(
    solver: LevenbergMarquardt,
    momentum: float,
    objective: SupervisedObjective,
    params: jax.Array,
    state: BatchState,
    bounds: FeasibleSet | Orthants | None = None,
) -> tuple[jax.Array, BatchState, jax.Array]:
    """One step from ``params`` (P,) on the rows of ``objective``, a batch; returns (params, state,
    loss before the step).

    The step s minimises the Gauss-Newton model of the batch's loss plus ½ λ ‖s - μ s₋‖², with μ the
    momentum and s₋ the last step: directions of which this batch says nothing go on as earlier
    batches left them. With fewer residuals than parameters this is a regularised projection onto
    the batch's linear equations, as in Kaczmarz' method. A step that does not lower the loss of its
    own batch is dropped, and λ grows. Its end lies within the ``bounds``.

    References: G. Goldshlager, N. Abrahamsen, L. Lin, "A Kaczmarz-inspired approach to accelerate
        the optimization of neural network wavefunctions", J. Comput. Phys. 516, 2024 (SPRING).
    """
    solver = solver.resolved(objective, params)
    objective = objective.summed(sums_at_once(objective, params, solver.linear.form))
    if solver.linear.form is Form.DUAL and objective.layerwise:
        return _by_arrays(solver, momentum, objective, params, state)
    return _batch_step(solver, momentum, objective, params, state, bounds)


def _by_arrays(
    solver: LevenbergMarquardt,
    momentum: float,
    objective: SupervisedObjective,
    params: jax.Array,
    state: BatchState,
) -> tuple[jax.Array, BatchState, jax.Array]:
    """The step on the params as a list of arrays, between vectors (P,) that are carried: the next
    batch's may be of another form.
    """
    structure = objective.structure
    state = state._replace(
        scaling=structure.firsts(state.scaling), change=structure.split(state.change)
    )
    new_params, state, loss = _batch_step(
        solver, momentum, objective.by_arrays(), structure.split(params), state
    )
    state = state._replace(
        scaling=structure.spread(state.scaling), change=structure.flatten(state.change)
    )
    return structure.flatten(new_params), state, loss


def _batch_step(
    solver: LevenbergMarquardt,
    momentum: float,
    objective: SupervisedObjective,
    params: Vector,
    state: BatchState,
    bounds: FeasibleSet | Orthants | None = None,
) -> tuple[Vector, BatchState, jax.Array]:
    """The step with a linear solver that is resolved, on params in the form that it takes."""
    linearization = objective.linearize(params, solver.linear.form)
    if bounds is not None:
        bounds, linearization = limited(bounds, params, linearization)
    linearization = solver.linear.prepare(linearization)
    scaling = solver.scaling.update(
        state.scaling, linearization.diagonal, jnp.ones_like(linearization.diagonal)
    )
    first = state.num_batches == 0
    start = solver.damping.init(linearization.diagonal, scaling)
    damping = select(first, start, state.damping)
    ahead = jax.tree.map(lambda leaf: momentum * leaf, state.change)
    if linearization.free is not None:
        ahead = jnp.where(linearization.free, ahead, 0)
    seen_from_there = _after(linearization, ahead, momentum)
    _, step, damping = solver.damping.solve(solver.linear, seen_from_there, damping, scaling)
    if bounds is not None:
        there = (params + ahead, seen_from_there, damping.damping, scaling, step)
        step, _ = within_bounds(solver.linear, bounds, *there)
    change = vectors.add(ahead, step)
    new_params = vectors.add(params, change)
    if bounds is not None:
        new_params = bounds.project(new_params)
        change = new_params - params
    predicted = linearization.promised(change)
    values = objective.evaluate(new_params)
    reduction = objective.reduction(linearization.values, values)
    accepted = (predicted > 0) & (reduction > 0) & jnp.isfinite(objective.cost(values))
    gain_ratio = reduction / jnp.where(predicted > 0, predicted, 1)
    damping = select(
        accepted, solver.damping.accept(damping, gain_ratio), solver.damping.reject(damping)
    )
    # A batch that is not finite where we stand says nothing; without this λ would grow for ever.
    damping = select(jnp.isfinite(linearization.cost), damping, state.damping)
    state = BatchState(
        damping,
        scaling,
        vectors.where(accepted, change, jax.tree.map(jnp.zeros_like, change)),
        state.num_batches + 1,
        state.num_accepted + accepted.astype(jnp.int32),
        StepNumbers(
            strength(solver.damping, damping),
            vectors.length(linearization.gradient),
            gain_ratio,
            jnp.ones((), jnp.int32),
            jnp.where(accepted, vectors.length(change), 0),
        ),
    )
    return vectors.where(accepted, new_params, params), state, linearization.cost


def _after(linearization: Linearization, ahead: Vector, momentum: float) -> Linearization:
    """The model seen from ``ahead``, that much on from where it was made."""
    gradient = linearization.gradient
    if momentum:
        gradient = vectors.add(gradient, linearization.curvature.product(ahead))
    return linearization._replace(gradient=gradient, source=linearization.source_after(ahead))
