"""Epochs of mini-batch steps: over shuffled rows in memory in a compiled loop, or over a stream in
its own order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.damping import Nielsen
from lmjax._src.levenberg_marquardt.scaling import IdentityScaling
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives.losses.step_weights import times_rows
from lmjax._src.objectives.rows import Rows, mean_over
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime import interrupts
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.slices import slices
from lmjax._src.training.batch_step import BatchState, batch_step, initial_batch_state
from lmjax._src.training.recording import Report
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.typing import Array, PyTree

#: For batches: one λ for all parameters, which does not fall so low that a batch is fitted without
#: regard to the others. On a regression with 11 000 parameters and batches of 256, λ chosen by the
#: gain on the batch itself without a floor stalled at an mse of 0.09; held at 1e-3, it went below
#: 0.002 in 14 epochs.
BATCH_SOLVER = LevenbergMarquardt(
    damping=Nielsen(initial=1e-2, floor=1e-3, first_try_limit=1 / 3), scaling=IdentityScaling()
)

#: The fraction of the last step that a batch starts from. There 0.5 gained nothing, and 0.9
#: diverged, with steps of full length; networks of wave functions gain from 0.99 with steps of a
#: fiftieth (see :func:`lmjax._src.training.batch_step.batch_step`).
MOMENTUM = 0.0


class _Best:
    """The parameters of least loss on all data, so that a fit never returns worse ones than it was
    given.
    """

    def __init__(
        self,
        objective: SupervisedObjective | StreamedObjective,
        validation: SupervisedObjective | StreamedObjective | None,
        params: jax.Array,
    ) -> None:
        self._objective, self._validation = objective, validation
        self.params, self.loss = params, _loss(objective, params)
        self._start = self.loss

    def report(self, params: jax.Array, state: BatchState) -> Report:
        """After an epoch that ended at ``params``, whose losses it records."""
        if not math.isfinite(self.loss):
            return Report(self.params, {"loss": [self.loss]}, Status.NON_FINITE_START, self._start)
        numbers = {"loss": [_loss(self._objective, params)]}
        if self._validation is not None:
            numbers["val_loss"] = [_loss(self._validation, params)]
        if numbers["loss"][0] < self.loss:
            self.params, self.loss = params, numbers["loss"][0]
        exhausted = not math.isfinite(float(state.damping.damping))
        return Report(
            self.params,
            numbers,
            Status.DAMPING_EXHAUSTED if exhausted else Status.RUNNING,
            self._start,
        )


class _Epoch(NamedTuple):
    """An epoch on its way."""

    params: jax.Array
    state: BatchState
    batches: PyTree  #: row numbers and weights, (batches, rows); None before the first epoch
    done: int  #: of the batches


def in_memory_batches(
    solver: LevenbergMarquardt,
    objective: SupervisedObjective,
    validation: SupervisedObjective | None,
    flat: Vector,
    batch_size: int,
    seed: int,
    momentum: float,
) -> Iterator[Report]:
    """One epoch in a report, without end; the rows are shuffled anew for each, in an order that
    ``seed`` decides.
    """
    params = jnp.asarray(flat)
    best, random = _Best(objective, validation, params), np.random.default_rng(seed)
    num_rows, size = objective.num_rows, min(batch_size, objective.num_rows)
    count = math.ceil(num_rows / size)

    def shuffled() -> tuple[Array, Array]:
        order = np.resize(random.permutation(num_rows), count * size)
        share = np.where(np.arange(count * size) < num_rows, 1.0, 0.0).reshape(count, size)
        return jnp.asarray(order.reshape(count, size)), jnp.asarray(
            share * size / share.sum(axis=1, keepdims=True), params.dtype
        )

    def advance(epoch: _Epoch, steps: int) -> _Epoch:
        if epoch.done == count:
            epoch = epoch._replace(batches=shuffled(), done=0)
        until = min(epoch.done + steps, count)
        params, state = jax.block_until_ready(
            _run_batches(
                solver,
                momentum,
                objective,
                epoch.params,
                epoch.state,
                epoch.batches,
                epoch.done,
                until,
            )
        )
        return epoch._replace(params=params, state=state, done=until)

    start = _Epoch(params, initial_batch_state(params), None, count)
    for epoch, _, _ in slices(advance, start, 1, count):
        if epoch.done == count:
            yield best.report(epoch.params, epoch.state)


def streamed_batches(
    solver: LevenbergMarquardt,
    objective: StreamedObjective,
    validation: StreamedObjective | None,
    flat: Vector,
    batch_size: int,
    momentum: float,
) -> Iterator[Report]:
    """One epoch in a report, without end; the batches come in the order of the stream."""
    params = jnp.asarray(flat)
    state, best = initial_batch_state(params), _Best(objective, validation, params)
    stream = objective.stream.rechunked(min(batch_size, objective.stream.num_rows))
    while True:
        left = stream.num_rows
        for rows in stream:
            interrupts.check()
            rows = mean_over(min(left, stream.chunk_rows), rows)
            left -= stream.chunk_rows
            batch = jax.tree.map(jnp.asarray, rows)
            params, state, _ = one_batch(
                solver, momentum, dataclasses.replace(objective.template, rows=batch), params, state
            )
        yield best.report(params, state)


one_batch = recent(static_argnums=(0, 1))(batch_step)
"""A compiled :func:`lmjax._src.training.batch_step.batch_step`."""


@recent(static_argnums=(0, 1))
def _run_batches(
    solver: LevenbergMarquardt,
    momentum: float,
    objective: SupervisedObjective,
    params: jax.Array,
    state: BatchState,
    batches: tuple[jax.Array, jax.Array],
    first: jax.Array,
    until: jax.Array,
) -> tuple[jax.Array, BatchState]:
    """The steps on the batches from ``first`` to ``until``; ``batches`` are row numbers and
    weights, (batches, rows).
    """
    order, shares = batches

    def body(index: jax.Array, carry: tuple[jax.Array, BatchState]) -> tuple[jax.Array, BatchState]:
        chosen, share = order[index], shares[index]
        inputs, targets, weights = jax.tree.map(lambda leaf: leaf[chosen], objective.rows)
        batch = dataclasses.replace(
            objective,
            rows=Rows(inputs, targets, share if weights is None else times_rows(weights, share)),
        )
        params, state, _ = batch_step(solver, momentum, batch, *carry)
        return params, state

    return jax.lax.fori_loop(first, until, body, (params, state))


def _loss(objective: SupervisedObjective | StreamedObjective, params: jax.Array) -> float:
    if isinstance(objective, StreamedObjective):
        return float(objective.cost(objective.evaluate(params)))
    return float(loss_at(objective, params))


@recent()
def loss_at(objective: SupervisedObjective, params: jax.Array) -> jax.Array:
    """The loss on all rows."""
    return objective.cost(objective.evaluate(params))
