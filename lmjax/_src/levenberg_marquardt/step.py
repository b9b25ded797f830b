"""One Levenberg-Marquardt step: linearize once, try dampings until a step lowers the cost, decide
whether to stop.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.acceptance import go_back
from lmjax._src.levenberg_marquardt.active_set import Orthants, limited
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.levenberg_marquardt.convergence import (
    norm_of_gradient,
    rounding_noise,
    status_here,
    undamped_reduction,
)
from lmjax._src.levenberg_marquardt.damping import (
    DampingState,
    idle_damping,
    initial_damping,
    select,
    strength,
)
from lmjax._src.levenberg_marquardt.halving import Part, best_part
from lmjax._src.levenberg_marquardt.options import Options
from lmjax._src.levenberg_marquardt.scaling import known_sizes, sizes_after
from lmjax._src.levenberg_marquardt.state import State, StepNumbers
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.levenberg_marquardt.step_path import Path, along, missed_curvature, path_with
from lmjax._src.objectives.cost_noise import vanishes
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.linearization import Linearization
from lmjax._src.objectives.objective import Objective
from lmjax._src.runtime import control_flow
from lmjax._src.typing import PyTree, Scalar, TreeFn


class _Trial(NamedTuple):
    """The inner loop's carry."""

    params: Vector
    values: PyTree
    damping: DampingState
    length: jax.Array  #: of the step, in the norm of D; an upper limit where its path is bent
    predicted: jax.Array
    reduction: jax.Array
    accepted: jax.Array
    lowered: jax.Array  #: as in the state
    #: whether the step changes no parameter in this precision, though λ was not too large from the
    #: beginning
    futile: jax.Array
    attempts: jax.Array
    evaluations: jax.Array


class Control(NamedTuple):
    """What runs the loop over dampings and the branches of a step."""

    loop: TreeFn  #: as ``jax.lax.while_loop``
    #: loop and branch for parts of a step; None to look at none
    halving: tuple[TreeFn, TreeFn] | None
    cond: TreeFn  #: as ``jax.lax.cond``
    #: as :func:`~lmjax._src.levenberg_marquardt.damping.select`, of any trees
    choose: TreeFn


_HALVING = control_flow.while_loop, control_flow.cond
COMPILED = Control(control_flow.while_loop, _HALVING, control_flow.cond, select)
HOST = Control(
    control_flow.on_host,
    None,  # data that are streamed have no second derivatives, and each part would read them again
    lambda condition, true, false: true() if condition else false(),
    lambda condition, chosen, other: chosen if condition else other,
)
ONE_ATTEMPT = Control(
    lambda *condition_body_carry: condition_body_carry[-1], _HALVING, control_flow.cond, select
)


def step(
    solver: Options,
    objective: Objective,
    bounds: FeasibleSet | Orthants | None,
    params: Vector,
    state: State,
    control: Control = COMPILED,
) -> tuple[Vector, State]:
    """One step from ``params``; they come back unchanged when the state says that the run has
    stopped.

    ``control`` runs the loop over dampings: :data:`HOST` where the objective works outside of
    compiled code, and :data:`ONE_ATTEMPT` to let a rejection end the call, so that the next one
    tries a larger damping from the same parameters. That suits batches, where an inner loop would
    let every lane wait for the one with the most rejections; the accepted steps are the same, and
    so are the counts.
    """
    solver = solver.resolved(objective, params)
    if state.known is None:
        linearization = objective.linearize(params, solver.linear.form)
    else:
        linearization = objective.linearize_known(params, solver.linear.form, state.known)  # type: ignore[attr-defined]
    if bounds is not None:
        bounds, linearization = limited(bounds, params, linearization)
    linearization = solver.linear.prepare(linearization)
    retrying = state.attempts > 0
    first = state.num_evaluations == 0
    start_cost = jnp.where(first, linearization.cost, state.start_cost)
    sizes, magnitudes = jnp.ones_like(linearization.diagonal), objective.magnitudes(params)
    if magnitudes is not None:
        state = state._replace(
            sizes=jnp.where(retrying, state.sizes, sizes_after(state.sizes, magnitudes))
        )
        sizes = known_sizes(state.sizes, linearization.diagonal, start_cost)
    scaling = jnp.where(
        retrying, state.scaling, solver.scaling.update(state.scaling, linearization.diagonal, sizes)
    )
    gradient_norm = state.gradient_norm
    if solver.linear.form is Form.OPERATOR:
        gradient_norm = norm_of_gradient(linearization)
        decrease = jnp.where(
            state.gradient_norm > 0,
            gradient_norm / jnp.where(state.gradient_norm > 0, state.gradient_norm, 1),
            1,
        )
        linearization = linearization._replace(decrease=decrease)
    damping = select(first, solver.damping.init(linearization.diagonal, scaling), state.damping)
    state = state._replace(
        damping=damping,
        scaling=scaling,
        cost=linearization.cost,
        num_evaluations=state.num_evaluations + (~retrying if state.known is None else first),
        start=jnp.where(first, vectors.lengths(params), state.start),
        start_cost=start_cost,
        status=status_here(solver, objective, linearization, state, first),
        memory=None if state.memory is None else state.memory.at(params, linearization.cost),
        latest=_without_step(solver, linearization, damping, state),
    )
    # Attempted even where the run stops here, and then dropped: a branch would keep XLA from
    # sharing the forward pass of the linearization with that of the first attempt.
    tried, tried_state = _attempt(solver, objective, bounds, params, state, linearization, control)
    tried_state = tried_state._replace(
        gradient_norm=jnp.where(tried_state.attempts == 0, gradient_norm, state.gradient_norm)
    )
    running = state.status == Status.RUNNING
    return go_back(*control.choose(running, (tried, tried_state), (params, state)))


def _attempt(
    solver: Options,
    objective: Objective,
    bounds: FeasibleSet | None,
    params: Vector,
    state: State,
    linearization: Linearization,
    control: Control,
) -> tuple[Vector, State]:
    """Tries dampings on one linearization until a step is accepted or the attempts are spent, or
    once.
    """
    allowance = None if state.memory is None else state.memory.allowance(linearization.cost)
    noise, idle = (
        rounding_noise(objective, linearization, params),
        idle_damping(linearization, state.scaling),
    )
    lowest = initial_damping(
        linearization.resolution(solver.linear.form), linearization.diagonal, state.scaling
    )
    # The radius of a trust region is shorter after every rejection as it is, and bounds are kinks
    # of another kind. Where there can be no kinks, looking for them takes a quarter of the time of
    # a step whose curvature comes from a sample.
    applies = solver.halvings and bounds is None and solver.damping.gives_damped_steps
    applies = applies and objective.forward_orders(params) >= 2 and objective.may_have_kinks(params)
    halving = control.halving if applies else None

    def part_of(path: Path, least: jax.Array, share: jax.Array | float) -> Part:
        new_params, length, predicted = along(
            solver, bounds, params, linearization, state.scaling, path, share
        )
        values = objective.evaluate(new_params)
        reduction = objective.reduction(linearization.values, values)
        gained = reduction if allowance is None else reduction + allowance
        enough = (gained > solver.acceptance * predicted) & (gained > least)
        acceptable = (predicted > 0) & enough & jnp.isfinite(objective.cost(values))
        return Part(new_params, values, length, predicted, reduction, acceptable)

    def trial(
        damping: DampingState, lowered: jax.Array, attempts: jax.Array, evaluations: jax.Array
    ) -> _Trial:
        path = path_with(solver, objective, bounds, params, linearization, damping, state.scaling)
        # Gains of rounding alone would go on without end.
        part_with = partial(part_of, path, jnp.where(lowered, noise / 8, 0))
        whole = part_with(1.0)
        rule, damping = solver.damping, path.damping
        after = select(
            path.share < 1, rule.shorten(damping), rule.accept(damping, whole.gain_ratio)
        )
        part, tried = whole, jnp.zeros_like(evaluations)
        if halving is not None:
            missed = partial(missed_curvature, objective, params, path)
            part, kinked, tried = best_part(
                whole,
                part_with,
                missed,
                jnp.where(lowered, jnp.inf, noise),
                solver.halvings,
                *halving,
            )
            after = select(kinked, rule.accept(damping, jnp.ones_like(whole.gain_ratio)), after)
        accepted = part.acceptable
        moved = control.cond(
            accepted, lambda: jnp.asarray(True), lambda: vectors.differ(part.params, params)
        )
        # A first λ beside which no parameter moves says nothing of the cost: it is lowered, and
        # does not count, for as long as there is something to lower.
        longer = rule.accept(damping, jnp.ones_like(whole.gain_ratio))
        lowers = (longer.damping != damping.damping) | (longer.carried != damping.carried)
        too_large = ~moved & (attempts == 0) & (damping.damping > idle) & lowers
        refused = select(too_large, longer, rule.reject(damping))
        damping, futile = select(accepted, after, refused), ~moved & ~too_large
        made = (
            part.params,
            part.values,
            damping,
            part.length,
            part.predicted,
            part.reduction,
            accepted,
            lowered,
            futile,
        )
        return _Trial(*made, attempts + ~too_large, evaluations + 1 + tried)

    first = trial(state.damping, state.lowered, state.attempts, state.num_evaluations)
    tiny = partial(_tiny, solver, params, linearization, state.scaling, noise)
    promised, ill_conditioned = control.cond(
        ~first.accepted | (tiny(first) != Status.RUNNING),
        lambda: undamped_reduction(solver, linearization),
        lambda: (jnp.full_like(linearization.cost, jnp.inf), jnp.asarray(state.ill_conditioned)),
    )
    visible = promised > noise

    def worth_another(t: _Trial) -> jax.Array:
        return (
            ~t.accepted
            & visible
            & (t.attempts < solver.max_attempts)
            & jnp.isfinite(t.damping.damping)
            & ~t.futile
        )

    def or_lowered(t: _Trial) -> _Trial:
        """Where all is tried from the last λ on: from the least on, with which a step may gain what
        those hide in rounding.
        """
        # Longer steps would be no better.
        lower = ~t.accepted & visible & ~worth_another(t) & ~t.lowered & jnp.isfinite(t.reduction)
        least = solver.damping.init(linearization.diagonal, state.scaling)._replace(damping=lowest)
        attempts = jnp.where(lower, 1, t.attempts)
        return t._replace(
            damping=select(lower, least, t.damping),
            lowered=t.lowered | lower,
            futile=t.futile & ~lower,
            attempts=attempts,
        )

    last = control.loop(
        lambda t: (state.status == Status.RUNNING) & worth_another(t),
        lambda t: or_lowered(trial(t.damping, t.lowered, t.attempts, t.evaluations)),
        or_lowered(first),
    )
    cost = objective.cost(last.values)
    # Less than ``confirmation`` of the cost, or less than can be seen, is left to gain.
    stationary = promised <= jnp.maximum(solver.confirmation * linearization.cost, noise)
    arrived = jnp.where(stationary, tiny(last), int(Status.RUNNING))
    if not objective.is_mean:
        shrinks = vectors.shrinks(params, vectors.subtract(last.params, params), state.scaling)
        gone = vanishes(vectors.lengths(last.params), state.start, cost, state.start_cost, shrinks)
        arrived = jnp.where(gone, int(Status.ZERO), arrived)
    spent = jnp.where(stationary, int(Status.PRECISION), int(Status.DAMPING_EXHAUSTED))
    return vectors.where(last.accepted, last.params, params), state._replace(
        damping=last.damping,
        cost=jnp.where(last.accepted, cost, linearization.cost),
        num_steps=state.num_steps + last.accepted,
        num_evaluations=last.evaluations,
        attempts=jnp.where(last.accepted, 0, last.attempts),
        lowered=last.lowered & ~last.accepted,
        ill_conditioned=ill_conditioned,
        known=None
        if state.known is None
        else control.choose(last.accepted, last.values, state.known),
        latest=None if state.latest is None else _after_trials(solver, params, state, last),
        status=jnp.where(
            last.accepted, arrived, jnp.where(worth_another(last), state.status, spent)
        ).astype(jnp.int32),
    )


def _without_step(
    solver: Options, linearization: Linearization, damping: DampingState, state: State
) -> StepNumbers | None:
    """What is told where the run stops before a step, if anything is to be."""
    if state.latest is None:
        return None
    none: Scalar = np.zeros((), np.int32)
    zero = jnp.zeros_like(linearization.cost)
    shown = strength(solver.damping, damping)
    return StepNumbers(shown, vectors.length(linearization.gradient), zero, none, zero)


def _after_trials(solver: Options, params: Vector, state: State, last: _Trial) -> StepNumbers:
    """What is told of a step whose trials ended with ``last``."""
    assert state.latest is not None
    length = vectors.length(vectors.subtract(last.params, params))
    return state.latest._replace(
        damping=strength(solver.damping, last.damping),
        gain_ratio=last.reduction / jnp.where(last.predicted > 0, last.predicted, 1),
        attempts=last.evaluations - state.num_evaluations,
        step_norm=jnp.where(last.accepted, length, 0),
    )


def _tiny(
    solver: Options,
    params: Vector,
    linearization: Linearization,
    scaling: jax.Array,
    noise: jax.Array,
    last: _Trial,
) -> jax.Array:
    """The status with which an accepted, tiny step would like to stop; RUNNING for a step of some
    size.
    """

    def reduces_at_most(limit: jax.Array) -> jax.Array:
        return (last.reduction <= limit) & (last.predicted <= limit)

    moving = params if linearization.free is None else jnp.where(linearization.free, params, 0)
    small_step = last.length <= solver.xtol * vectors.norm(moving, scaling)
    status = jnp.where(reduces_at_most(noise), int(Status.PRECISION), int(Status.RUNNING))
    status = jnp.where(small_step, int(Status.STEP), status)
    return jnp.where(reduces_at_most(solver.ftol * linearization.cost), int(Status.COST), status)
