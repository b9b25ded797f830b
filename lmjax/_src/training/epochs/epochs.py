"""What runs the epochs of a fit: a compiled loop over data in memory, or the host over data that
are streamed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt import step
from lmjax._src.levenberg_marquardt.active_set import Orthants
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.state import State, StepNumbers
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.sampled import SampledObjective
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.runtime.slices import slices
from lmjax._src.training.bayesian.evidence import Evidence, first_evidence
from lmjax._src.training.bayesian.steps import step_by_evidence
from lmjax._src.training.epochs.course import Course
from lmjax._src.training.epochs.minibatch import (
    in_memory_batches,
    loss_of,
    streamed_batches,
)
from lmjax._src.training.epochs.sampling import PATIENCE, slow_epochs, takes_long
from lmjax._src.training.epochs.stages import first_state, going_on, stages
from lmjax._src.training.epochs.step_numbers import named
from lmjax._src.training.following.continuation import Place
from lmjax._src.training.following.recording import Report, with_offsets
from lmjax._src.training.following.selection import Kept
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.typing import Array, Scalar

#: Epochs whose losses one call of the compiled loop can record; a longer slice would only delay
#: Ctrl-C.
RECORD = 64


class EpochRun(NamedTuple):
    """The carry of the compiled loop: where the fit stands, and the losses of the epochs of this
    slice, and what is told of their steps.
    """

    params: Vector
    state: State
    losses: jax.Array
    val_losses: jax.Array
    steps: StepNumbers
    epochs: jax.Array
    slow: jax.Array  #: epochs in a row that hardly lowered the loss
    kept: Kept | None = None
    evidence: Evidence | None = None  #: where regularization is Bayesian


class Limits(NamedTuple):
    """What ends a slice of epochs, as data of the compiled loop."""

    epochs: Scalar
    patience: Scalar
    goal: Scalar
    min_grad: Scalar
    due: Array | None  #: (RECORD,), which epochs have a validation loss; None for all


def reports_of(
    course: Course, params: Vector, done: int, kept: Kept | None, place: Place | None = None
) -> Iterator[Report]:
    """The reports of a resolved course from ``params`` on, as a
    :data:`~lmjax._src.training.following.recording.Run`.
    """
    kept = None if kept is None else kept.shifted(-course.offsets["val_loss"])
    return with_offsets(_costs(course, params, done, kept, place), course.offsets)


def _costs(
    course: Course, params: Vector, done: int, kept: Kept | None, place: Place | None
) -> Iterator[Report]:
    """The same in costs."""
    flat = course.objective.structure.flatten(params) if isinstance(params, list) else params
    if course.batches is not None:
        batches = (
            streamed_batches
            if isinstance(course.objective, StreamedObjective)
            else in_memory_batches
        )
        return batches(
            course.solver,
            course.objective,
            course.validation,
            flat,
            course.batches,
            course.rules,
            done,
            course.audience,
            course.bounds,
            place,
        )
    if isinstance(course.objective, StreamedObjective):
        return streamed(course, flat, done, place)
    return _in_memory(course, flat, done, kept, place)


def _in_memory(
    course: Course, flat: Vector, done: int, kept: Kept | None, place: Place | None
) -> Iterator[Report]:
    """The epochs in the compiled loop, on params in the form that suits the linear solver."""
    return in_memory(*by_arrays(course, flat, kept), done, place)


def by_arrays(
    course: Course, flat: Vector, kept: Kept | None
) -> tuple[Course, Vector, Kept | None]:
    """A course over data in memory with parameters in the form that suits its linear solver, on the
    device.
    """
    if not (course.objective.layerwise and course.solver.linear.form is Form.DUAL):
        return course, jax.device_put(flat), kept
    structure, validation = course.objective.structure, course.validation
    if kept is not None and kept.params is not None and not isinstance(kept.params, list):
        kept = kept._replace(params=structure.split(kept.params))
    course = course._replace(
        objective=course.objective.by_arrays(),
        validation=None if validation is None else validation.by_arrays(),
    )
    return course, jax.device_put(structure.split(flat)), kept


def in_memory(
    course: Course, params: Vector, kept: Kept | None, done: int, place: Place | None = None
) -> Iterator[Report]:
    """Epochs in the compiled loop, one in a report where there is an audience.

    They go through all :func:`~lmjax._src.training.epochs.stages.stages`.
    """
    solver, validation, rules = course.solver, course.validation, course.rules
    all_stages = stages(solver, course.objective, params)
    if course.prior is not None:  # which asks for all rows and digits in every step
        all_stages = all_stages[-1:]
    used, *following = all_stages[0 if place is None else int(place.stage) :]
    begin = _start(course, params, used) if place is None else _again(place)
    steps_before = int(begin.state.num_steps)
    start_loss = math.nan if course.prior is None else loss_of(course.objective, params)
    loop, dtype = _compiled(used, params), vectors.dtype(params)
    most, first = RECORD if course.audience is None else 1, done

    def limits(steps: int) -> Limits:
        number: Scalar = np.asarray(min(steps, course.epochs - done), np.int32)
        goal: Scalar = np.asarray(rules.goal - course.offsets["loss"], dtype)
        min_grad: Scalar = np.asarray(rules.min_grad, dtype)
        return Limits(number, rules.patience_number, goal, min_grad, rules.due(done, RECORD))

    def advance(run: EpochRun, steps: int) -> EpochRun:
        nonlocal used, loop
        if following and (int(run.state.status) != Status.RUNNING or int(run.slow) >= PATIENCE):
            none: Scalar = np.zeros((), np.int32)
            used = following.pop(0)
            run, loop = (
                run._replace(state=going_on(run.params, run.state, used), slow=none),
                _compiled(used, params),
            )
        return jax.block_until_ready(
            loop(
                solver,
                used,
                validation,
                course.bounds,
                run.params,
                run.state,
                run.slow,
                limits(steps),
                kept,
                run.evidence,
            )
        )

    for run, _, took in slices(advance, begin, 1, most):
        count, kept = int(run.epochs), run.kept
        if (
            following
            and int(run.state.status) != Status.RUNNING
            and done - first + count > int(run.state.num_steps) - steps_before
        ):
            count -= (
                1  # the last epoch took no step, and the next one tries again in the next stage
            )
            kept = None if kept is None else kept.without_last(rules.is_due(done + count))
        done += count
        sampled = isinstance(used, SampledObjective)
        status = Status.RUNNING if following else Status(int(run.state.status))
        lists = numbers_of(course, run, count)
        start_cost = float(run.state.start_cost if place is None else place.state.cost)
        if course.prior is not None:
            start_cost = start_loss
        stage = len(all_stages) - len(following) - 1
        here = Place(run.params, run.state, stage, run.slow, run.evidence)
        yield Report(run.params, lists, status, start_cost, sampled, kept, took, here)


def numbers_of(course: Course, run: EpochRun, count: int) -> dict[str, list[float]]:
    """What the first ``count`` epochs of a slice came to, by the names in a history."""
    numbers = {"loss": run.losses}
    if course.validation is not None:
        numbers["val_loss"] = run.val_losses
    lists = {name: np.asarray(values, float)[:count].tolist() for name, values in numbers.items()}
    return lists | named(course.solver.damping, run.steps, count)


def streamed(
    course: Course, flat: Vector, number: int, place: Place | None = None
) -> Iterator[Report]:
    """One epoch in a report, without end, from epoch ``number`` on: the same steps in the same
    stages as :func:`in_memory`, driven from the host.
    """
    solver, objective, validation = course.solver, course.objective, course.validation
    params, slow = jnp.asarray(flat), 0
    all_stages = stages(solver, objective, params)
    used, *following = all_stages[0 if place is None else int(place.stage) :]
    if place is None:
        state = first_state(params)
        if isinstance(used, SampledObjective):
            state = state._replace(known=used.evaluate(params))
    else:
        params, state, slow = jnp.asarray(place.params), place.state, int(place.slow)
    while True:
        before = state
        params, state = step.step(solver, used, course.bounds, params, state, step.HOST)
        sampled, cost, status = (
            isinstance(used, SampledObjective),
            float(state.cost),
            Status(int(state.status)),
        )
        slow, preliminary = int(slow_epochs(slow, before.cost, state.cost)), bool(following)
        if following and (status != Status.RUNNING or slow >= PATIENCE):
            took_none = int(state.num_steps) == int(before.num_steps)
            used, slow = following.pop(0), 0
            state = going_on(params, state, used)
            if isinstance(used, SampledObjective) and int(state.num_evaluations) == 0:
                state = state._replace(known=used.evaluate(params))
            if took_none:
                continue
        numbers = {"loss": [cost]}
        if validation is not None:
            is_due = course.rules.is_due(number)
            numbers["val_loss"] = [loss_of(validation, params) if is_due else math.nan]
        assert state.latest is not None
        numbers |= named(solver.damping, state.latest, 1)
        number += 1
        yield Report(
            params,
            numbers,
            Status.RUNNING if preliminary else status,
            float(state.start_cost if place is None else place.state.cost),
            sampled,
            place=Place(params, state, len(all_stages) - len(following) - 1, slow),
        )


def _start(
    course: Course, params: Vector, objective: SupervisedObjective | SampledObjective
) -> EpochRun:
    nothing: Any = None  # the compiled loop makes these anew in every call
    none_slow: Scalar = np.zeros((), np.int32)
    state = first_state(params)
    if isinstance(objective, SampledObjective):
        state = state._replace(known=objective.nothing_known(params))
    evidence = None
    if course.prior is not None:
        evidence = first_evidence(course.prior, params, loss_of(course.objective, params))
    return EpochRun(
        *(params, state, nothing, nothing, nothing, nothing, none_slow), evidence=evidence
    )


def _again(place: Place) -> EpochRun:
    """Where an earlier fit was left."""
    nothing: Any = None
    slow: Scalar = np.asarray(place.slow, np.int32)
    return EpochRun(
        *(place.params, place.state, nothing, nothing, nothing, nothing, slow),
        evidence=place.evidence,
    )


def _compiled(
    objective: SupervisedObjective | SampledObjective, params: Vector
) -> Callable[..., EpochRun]:
    """:func:`run_epochs`, compiled in little time where its steps take little."""
    linearized = objective.sample if isinstance(objective, SampledObjective) else objective
    return (
        _slowly_compiled
        if takes_long(linearized.num_residuals(params), vectors.size(params))
        else _quickly_compiled
    )


def run_epochs(
    solver: LevenbergMarquardt,
    objective: SupervisedObjective | SampledObjective,
    validation: SupervisedObjective | None,
    bounds: FeasibleSet | Orthants | None,
    params: Vector,
    state: State,
    slow: jax.Array,
    limits: Limits,
    kept: Kept | None,
    evidence: Evidence | None = None,
) -> EpochRun:
    """Epochs with their losses up to the ``limits`` (data, at most ``RECORD``); of preliminary
    steps, until too many are slow.
    """
    sampled = isinstance(objective, SampledObjective)
    preliminary = sampled or not objective.in_double  # type: ignore[union-attr]

    def running(run: EpochRun) -> jax.Array:
        on = (run.state.status == Status.RUNNING) & (run.epochs < limits.epochs)
        assert run.state.latest is not None
        steep = ~(run.state.latest.gradient_norm <= limits.min_grad)
        last = run.losses[jnp.maximum(run.epochs - 1, 0)]
        on &= (run.epochs == 0) | ((last > limits.goal) & steep)
        if run.kept is not None:
            on &= run.kept.waited < limits.patience
        return on & (run.slow < PATIENCE) if preliminary else on

    def val_loss_at(params: Vector, epoch: jax.Array) -> jax.Array:
        assert validation is not None
        if limits.due is None:
            return validation.cost(validation.evaluate(params))
        found: jax.Array = jax.lax.cond(
            jnp.asarray(limits.due)[epoch],
            lambda: validation.cost(validation.evaluate(params)),
            lambda: jnp.full((), jnp.nan, vectors.dtype(params)),
        )
        return found

    def epoch(run: EpochRun) -> EpochRun:
        loss, evidence = None, run.evidence
        if evidence is None:
            params, state = step.step(solver, objective, bounds, run.params, run.state)
        else:
            assert isinstance(objective, SupervisedObjective)
            moved = step_by_evidence(solver, objective, run.params, run.state, evidence)
            params, state, evidence, loss = moved
        loss = state.cost if loss is None else loss
        val_loss = loss if validation is None else val_loss_at(params, run.epochs)
        kept = None if run.kept is None else run.kept.after(params, val_loss)
        slow = slow_epochs(run.slow, run.state.cost, state.cost)
        losses, val_losses = (
            run.losses.at[run.epochs].set(loss),
            run.val_losses.at[run.epochs].set(val_loss),
        )
        steps = jax.tree.map(
            lambda all_of_them, now: all_of_them.at[run.epochs].set(now), run.steps, state.latest
        )
        return EpochRun(
            *(params, state, losses, val_losses, steps, run.epochs + 1, slow, kept, evidence)
        )

    if sampled:
        known = jax.lax.cond(
            state.num_evaluations == 0, lambda: objective.evaluate(params), lambda: state.known
        )
        state = state._replace(known=known)
    empty, none = jnp.zeros((RECORD,), vectors.dtype(params)), jnp.zeros((), jnp.int32)
    steps = jax.tree.map(lambda leaf: jnp.zeros((RECORD,), leaf.dtype), state.latest)
    return jax.lax.while_loop(
        running,
        epoch,
        EpochRun(
            *(params, state, empty, empty, steps, none, jnp.asarray(slow), kept),
            evidence=jax.tree.map(jnp.asarray, evidence),
        ),
    )


_slowly_compiled = recent(static_argnums=(0,))(run_epochs)
_quickly_compiled = recent(static_argnums=(0,), effort=Effort.LEAST)(run_epochs)
