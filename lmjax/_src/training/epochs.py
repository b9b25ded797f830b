"""What runs the epochs of a fit: a compiled loop over data in memory, or the host over data that
are streamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt import step
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.state import State, initial_state
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.sampled import SampledObjective
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.runtime.slices import slices
from lmjax._src.training.minibatch import MOMENTUM, in_memory_batches, streamed_batches
from lmjax._src.training.recording import Report
from lmjax._src.training.sampling import PATIENCE, slow_epochs, takes_long
from lmjax._src.training.stages import going_on, stages
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.typing import Scalar

#: Epochs whose losses one call of the compiled loop can record; a longer slice would only delay
#: Ctrl-C.
RECORD = 64


class _Run(NamedTuple):
    """The carry of the compiled loop: where the fit stands, and the losses of the epochs of this
    slice.
    """

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
    validation: Any,  # of the objective's class, or None
    flat: Vector,
    epochs: int,
    batches: Batches | None,
    watched: bool,
    bounds: FeasibleSet | None,
) -> tuple[LevenbergMarquardt, Iterator[Report]]:
    """The reports of a fit from ``flat`` (P,), and the solver with the linear solver that full
    steps use.

    ``watched`` says that somebody wants to see every epoch by itself; ``bounds`` are for full
    steps.
    """
    if batches is None:
        solver = solver.resolved(objective, flat)
        if isinstance(objective, StreamedObjective):
            return solver, streamed(solver, objective, validation, flat, bounds)
        start, most = jax.device_put(flat), 1 if watched else RECORD
        if objective.layerwise and solver.linear.form is Form.DUAL:
            start = jax.device_put(objective.structure.split(flat))
            objective, validation = (
                objective.by_arrays(),
                None if validation is None else validation.by_arrays(),
            )
        return solver, in_memory(solver, objective, validation, start, epochs, most, bounds)
    if isinstance(objective, StreamedObjective):
        return solver, streamed_batches(solver, objective, validation, flat, batches.size, MOMENTUM)
    return solver, in_memory_batches(
        solver, objective, validation, flat, batches.size, batches.seed, MOMENTUM
    )


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

    They go through all :func:`~lmjax._src.training.stages.stages`.
    """
    used, *following = stages(solver, objective, params)
    total, loop = 0, _compiled(used, params)

    def advance(run: _Run, steps: int) -> _Run:
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
                bounds,
                run.params,
                run.state,
                run.slow,
                min(steps, epochs - total),
            )
        )

    for run, _, _ in slices(advance, _start(params, used), 1, most):
        done = int(run.epochs)
        if (
            following
            and int(run.state.status) != Status.RUNNING
            and total + done > int(run.state.num_steps)
        ):
            done -= 1  # the last epoch took no step, and the next one tries again in the next stage
        total += done
        numbers = (
            {"loss": run.losses}
            if validation is None
            else {"loss": run.losses, "val_loss": run.val_losses}
        )
        sampled = isinstance(used, SampledObjective)
        status = Status.RUNNING if following else Status(int(run.state.status))
        lists = {
            name: np.asarray(values, float)[:done].tolist() for name, values in numbers.items()
        }
        yield Report(run.params, lists, status, float(run.state.start_cost), sampled)


def streamed(
    solver: LevenbergMarquardt,
    objective: StreamedObjective,
    validation: StreamedObjective | None,
    flat: Vector,
    bounds: FeasibleSet | None,
) -> Iterator[Report]:
    """One epoch in a report, without end: the same steps in the same stages as :func:`in_memory`,
    driven from the host.
    """
    params, slow = jnp.asarray(flat), 0
    used, *following = stages(solver, objective, params)
    state = initial_state(params)
    if isinstance(used, SampledObjective):
        state = state._replace(known=used.evaluate(params))
    while True:
        before = state
        params, state = step.step(solver, used, bounds, params, state, step.HOST)
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
            numbers["val_loss"] = [float(validation.cost(validation.evaluate(params)))]
        yield Report(
            params,
            numbers,
            Status.RUNNING if preliminary else status,
            float(state.start_cost),
            sampled,
        )


def _start(params: Vector, objective: SupervisedObjective | SampledObjective) -> _Run:
    nothing: Any = None  # the compiled loop makes these anew in every call
    none_slow: Scalar = np.zeros((), np.int32)
    state = initial_state(params)
    if isinstance(objective, SampledObjective):
        state = state._replace(known=objective.nothing_known(params))
    return _Run(params, state, nothing, nothing, nothing, none_slow)


def _compiled(
    objective: SupervisedObjective | SampledObjective, params: Vector
) -> Callable[..., _Run]:
    """:func:`_run_epochs`, compiled in little time where its steps take little."""
    linearized = objective.sample if isinstance(objective, SampledObjective) else objective
    return (
        _slowly_compiled
        if takes_long(linearized.num_residuals(params), vectors.size(params))
        else _quickly_compiled
    )


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
    """Up to ``limit`` (data, at most ``RECORD``) epochs with their losses; of preliminary steps,
    until too many are slow.
    """
    sampled = isinstance(objective, SampledObjective)
    preliminary = sampled or not objective.in_double  # type: ignore[union-attr]

    def running(run: _Run) -> jax.Array:
        enough = (run.state.status == Status.RUNNING) & (run.epochs < limit)
        return enough & (run.slow < PATIENCE) if preliminary else enough

    def epoch(run: _Run) -> _Run:
        params, state = step.step(solver, objective, bounds, run.params, run.state)
        val_loss = (
            state.cost if validation is None else validation.cost(validation.evaluate(params))
        )
        slow = slow_epochs(run.slow, run.state.cost, state.cost)
        losses, val_losses = (
            run.losses.at[run.epochs].set(state.cost),
            run.val_losses.at[run.epochs].set(val_loss),
        )
        return _Run(params, state, losses, val_losses, run.epochs + 1, slow)

    if sampled:
        known = jax.lax.cond(
            state.num_evaluations == 0, lambda: objective.evaluate(params), lambda: state.known
        )
        state = state._replace(known=known)
    empty = jnp.zeros((RECORD,), vectors.dtype(params))
    return jax.lax.while_loop(
        running,
        epoch,
        _Run(params, state, empty, empty, jnp.zeros((), jnp.int32), jnp.asarray(slow)),
    )


_slowly_compiled = recent(static_argnums=(0,))(_run_epochs)
_quickly_compiled = recent(static_argnums=(0,), effort=Effort.LEAST)(_run_epochs)
