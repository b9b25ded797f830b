"""What runs the epochs of a fit: a compiled loop over data in memory, or the host over data that are streamed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax import iteration, vectors
from lmjax.bounds import FeasibleSet
from lmjax.compilation import Effort
from lmjax.curvature import Form
from lmjax.driving import slices
from lmjax.iteration import State
from lmjax.minibatch import MOMENTUM, in_memory_batches, streamed_batches
from lmjax.objectives import SampledObjective, SupervisedObjective
from lmjax.programs import recent
from lmjax.recording import Report
from lmjax.sampling import PATIENCE, slow_epochs, takes_long, with_sample
from lmjax.solver import LevenbergMarquardt
from lmjax.status import Status
from lmjax.streaming import StreamedObjective
from lmjax.vectors import Vector

#: Epochs whose losses one call of the compiled loop can record; a longer slice would only delay Ctrl-C.
RECORD = 64


class _Run(NamedTuple):
    """The carry of the compiled loop: where the fit stands, and the losses of the epochs of this slice."""

    params: Vector
    state: State
    losses: jax.Array
    val_losses: jax.Array
    epochs: jax.Array
    slow: jax.Array  #: epochs in a row that hardly lowered the loss


class Batches(NamedTuple):
    """How a fit is cut into batches."""

    size: int
    seed: int


def run_epochs(
    solver: LevenbergMarquardt,
    objective: SupervisedObjective | StreamedObjective,
    validation: Any,
    flat: Any,
    epochs: int,
    batches: Batches | None,
    watched: bool,
    bounds: FeasibleSet | None,
) -> tuple[LevenbergMarquardt, Iterator[Report]]:
    """The reports of a fit from ``flat`` (P,), and the solver with the linear solver that full steps use.

    ``watched`` says that somebody wants to see every epoch by itself; ``bounds`` are for full steps.
    """
    if batches is None:
        solver = solver.resolved(objective, flat)
        if isinstance(objective, StreamedObjective):
            return solver, streamed(solver, objective, validation, flat, bounds)
        start, most = jax.device_put(flat), 1 if watched else RECORD
        if objective.layerwise and solver.linear.form is Form.DUAL:
            start = jax.device_put(objective.structure.split(flat))
            objective, validation = objective.by_arrays(), None if validation is None else validation.by_arrays()
        return solver, in_memory(solver, objective, validation, start, epochs, most, bounds)
    if isinstance(objective, StreamedObjective):
        return solver, streamed_batches(solver, objective, validation, flat, batches.size, MOMENTUM)
    return solver, in_memory_batches(solver, objective, validation, flat, batches.size, batches.seed, MOMENTUM)


def in_memory(
    solver: LevenbergMarquardt,
    objective: SupervisedObjective,
    validation: SupervisedObjective | None,
    params: Vector,
    epochs: int,
    most: int,
    bounds: FeasibleSet | None,
) -> Iterator[Report]:
    """Epochs in the compiled loop, at most ``most`` in a report.

    Where the preliminary steps, with a sample of the rows or with sums in single precision, would stop or get slow, those with all rows and
    digits begin, so that only they say why a fit stopped.
    """
    total, used = 0, _first(solver, objective, params)
    loop = _compiled(used, params)

    def advance(run: _Run, steps: int) -> _Run:
        nonlocal used, loop
        if used is not objective and (int(run.state.status) != Status.RUNNING or int(run.slow) >= PATIENCE):
            used, run = objective, run._replace(state=_going_on(run.params, run.state))
            loop = _compiled(used, params)
        return jax.block_until_ready(loop(solver, used, validation, bounds, run.params, run.state, run.slow, min(steps, epochs - total)))

    for run, _, _ in slices(advance, _start(params, used), 1, most):
        done = int(run.epochs)
        if used is not objective and int(run.state.status) != Status.RUNNING and total + done > int(run.state.num_steps):
            done -= 1  # the last epoch took no step, and the next one tries again with all rows
        total += done
        numbers = {"loss": run.losses} if validation is None else {"loss": run.losses, "val_loss": run.val_losses}
        sampled = isinstance(used, SampledObjective)
        status = Status(int(run.state.status)) if used is objective else Status.RUNNING
        lists = {name: np.asarray(values, float)[:done].tolist() for name, values in numbers.items()}
        yield Report(run.params, lists, status, float(run.state.start_cost), sampled)


def streamed(
    solver: LevenbergMarquardt, objective: StreamedObjective, validation: StreamedObjective | None, flat: Any, bounds: FeasibleSet | None
) -> Iterator[Report]:
    """One epoch in a report, without end: the same steps, driven from the host. As :func:`in_memory`, first with a sample."""
    params, slow = jnp.asarray(flat), 0
    used = with_sample(solver, objective, params)
    state = iteration.initial_state(params)
    if isinstance(used, SampledObjective):
        state = state._replace(known=used.evaluate(params))
    while True:
        before = state
        params, state = iteration.step(solver, used, bounds, params, state, iteration.HOST)
        sampled, cost, status = isinstance(used, SampledObjective), float(state.cost), Status(int(state.status))
        slow = int(slow_epochs(slow, before.cost, state.cost))
        if sampled and (status != Status.RUNNING or slow >= PATIENCE):
            took_none = int(state.num_steps) == int(before.num_steps)
            used, state = objective, _going_on(params, state)
            if took_none:
                continue
        numbers = {"loss": [cost]}
        if validation is not None:
            numbers["val_loss"] = [float(validation.cost(validation.evaluate(params)))]
        yield Report(params, numbers, Status.RUNNING if sampled else status, float(state.start_cost), sampled)


def _first(solver: LevenbergMarquardt, objective: SupervisedObjective, params: Vector) -> SupervisedObjective | SampledObjective:
    """What the first steps are taken with: a sample where that is worth it, else sums in single precision where double takes long."""
    used = with_sample(solver, objective, params)
    if isinstance(used, SampledObjective) or isinstance(params, list) or solver.linear.form is not Form.NORMAL:
        return used
    wider = objective.dtype_of_sums(params) != params.dtype and objective.normal_plan(params) is None
    if wider and takes_long(objective.num_residuals(params), params.size):
        return dataclasses.replace(objective, in_double=False)
    return objective


def _going_on(params: Vector, state: State) -> State:
    """The state to go on with after preliminary steps: with their λ and scaling, from the start again where these had come to an end.

    In single precision a step with the first λ may be too short near a minimum to be seen in the loss.
    """
    if int(state.status) != Status.RUNNING:
        return iteration.initial_state(params)
    none: Any = np.zeros((), np.int32)
    return state._replace(known=None, attempts=none)


def _start(params: Vector, objective: SupervisedObjective | SampledObjective) -> _Run:
    nothing: Any = None  # the compiled loop makes these anew in every call
    none_slow: Any = np.zeros((), np.int32)
    state = iteration.initial_state(params)
    if isinstance(objective, SampledObjective):
        state = state._replace(known=objective.nothing_known(params))
    return _Run(params, state, nothing, nothing, nothing, none_slow)


def _compiled(objective: SupervisedObjective | SampledObjective, params: Vector) -> Callable[..., _Run]:
    """:func:`_run_epochs`, compiled in little time where its steps take little."""
    linearized = objective.sample if isinstance(objective, SampledObjective) else objective
    return _slowly_compiled if takes_long(linearized.num_residuals(params), vectors.size(params)) else _quickly_compiled


def _run_epochs(
    solver: LevenbergMarquardt,
    objective: SupervisedObjective | SampledObjective,
    validation: SupervisedObjective | None,
    bounds: FeasibleSet | None,
    params: Vector,
    state: State,
    slow: jax.Array,
    limit: jax.Array,
) -> _Run:
    """Up to ``limit`` (data, at most ``RECORD``) epochs with their losses; of preliminary steps, until too many are slow."""
    sampled = isinstance(objective, SampledObjective)
    preliminary = sampled or not objective.in_double  # type: ignore[union-attr]

    def running(run: _Run) -> jax.Array:
        enough = (run.state.status == Status.RUNNING) & (run.epochs < limit)
        return enough & (run.slow < PATIENCE) if preliminary else enough

    def epoch(run: _Run) -> _Run:
        params, state = iteration.step(solver, objective, bounds, run.params, run.state)
        val_loss = state.cost if validation is None else validation.cost(validation.evaluate(params))
        slow = slow_epochs(run.slow, run.state.cost, state.cost)
        losses, val_losses = run.losses.at[run.epochs].set(state.cost), run.val_losses.at[run.epochs].set(val_loss)
        return _Run(params, state, losses, val_losses, run.epochs + 1, slow)

    if sampled:
        known = jax.lax.cond(state.num_evaluations == 0, lambda: objective.evaluate(params), lambda: state.known)
        state = state._replace(known=known)
    empty = jnp.zeros((RECORD,), vectors.dtype(params))
    return jax.lax.while_loop(running, epoch, _Run(params, state, empty, empty, jnp.zeros((), jnp.int32), jnp.asarray(slow)))


_slowly_compiled = recent(static_argnums=(0,))(_run_epochs)
_quickly_compiled = recent(static_argnums=(0,), effort=Effort.LEAST)(_run_epochs)
