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
from lmjax._src.levenberg_marquardt.active_set import Orthants
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.levenberg_marquardt.damping import DampingRule, Nielsen
from lmjax._src.levenberg_marquardt.scaling import IdentityScaling
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives.losses.step_weights import times_rows
from lmjax._src.objectives.rows import Rows, mean_over
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime import interrupts
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.slices import slices
from lmjax._src.training.epochs.batch_step import BatchState, batch_step, initial_batch_state
from lmjax._src.training.epochs.step_numbers import named
from lmjax._src.training.following.continuation import Place
from lmjax._src.training.following.listening import Audience
from lmjax._src.training.following.recording import Report
from lmjax._src.training.following.selection import Rules
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
#: fiftieth (see :func:`lmjax._src.training.epochs.batch_step.batch_step`).
MOMENTUM = 0.0


class Batches(NamedTuple):
    """How a fit is cut into batches."""

    size: int
    seed: int = 0
    shuffled: bool = True
    most: int | None = None  #: batches in an epoch; None for all


class _Reporter:
    """Computes the losses on all data after an epoch."""

    def __init__(
        self,
        rule: DampingRule,
        objective: SupervisedObjective | StreamedObjective,
        validation: SupervisedObjective | StreamedObjective | None,
        params: jax.Array,
    ) -> None:
        self._rule, self._objective, self._validation = rule, objective, validation
        self._start = loss_of(objective, params)

    def report(self, params: jax.Array, state: BatchState, is_due: bool) -> Report:
        """After an epoch that ended at ``params``; ``is_due`` says whether it has a validation
        loss.
        """
        if not math.isfinite(self._start):
            numbers = {"loss": [self._start]}
            if self._validation is not None:
                numbers["val_loss"] = [math.nan]
            return Report(params, numbers, Status.NON_FINITE_START, self._start)
        numbers = {"loss": [loss_of(self._objective, params)]}
        if self._validation is not None:
            numbers["val_loss"] = [loss_of(self._validation, params) if is_due else math.nan]
        numbers |= named(self._rule, state.latest, 1)
        exhausted = not math.isfinite(float(state.damping.damping))
        status = Status.DAMPING_EXHAUSTED if exhausted else Status.RUNNING
        place = Place(params, state)
        return Report(params, numbers, status, self._start, place=place)


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
    batches: Batches,
    rules: Rules,
    number: int,
    audience: Audience | None,
    bounds: FeasibleSet | Orthants | None,
    place: Place | None = None,
) -> Iterator[Report]:
    """One epoch in a report, without end, from epoch ``number`` on; the rows are shuffled anew for
    each, in an order that the seed decides.
    """
    params = jnp.asarray(flat)
    state = initial_batch_state(params) if place is None else place.state
    reporter = _Reporter(solver.damping, objective, validation, params)
    num_rows, size = objective.num_rows, min(batches.size, objective.num_rows)
    all_batches = math.ceil(num_rows / size)
    count = all_batches if batches.most is None else min(batches.most, all_batches)
    by_batch = audience if audience is not None and audience.by_batch else None

    def cut() -> tuple[Array, Array]:
        # By the number of the epoch, so that a fit that goes on has the order of one without end.
        random = np.random.default_rng((batches.seed, rules.skipped + number))
        rows = random.permutation(num_rows) if batches.shuffled else np.arange(num_rows)
        order = np.resize(rows, all_batches * size)
        share = np.where(np.arange(all_batches * size) < num_rows, 1.0, 0.0)
        share = share.reshape(all_batches, size)
        return jnp.asarray(order.reshape(all_batches, size)), jnp.asarray(
            share * size / share.sum(axis=1, keepdims=True), params.dtype
        )

    def advance(epoch: _Epoch, steps: int) -> _Epoch:
        if epoch.done == count:
            epoch = epoch._replace(batches=cut(), done=0)
        until = min(epoch.done + steps, count)
        if by_batch is not None:
            by_batch.begin_batch(epoch.done, epoch.params)
        params, state, loss = jax.block_until_ready(
            _run_batches(
                solver,
                MOMENTUM,
                objective,
                epoch.params,
                epoch.state,
                epoch.batches,
                epoch.done,
                until,
                bounds,
            )
        )
        if by_batch is not None and by_batch.end_batch(epoch.done, float(loss), params):
            until = count
        return epoch._replace(params=params, state=state, done=until)

    start = _Epoch(params, state, None, count)
    for epoch, _, _ in slices(advance, start, 1, count if by_batch is None else 1):
        if epoch.done == count:
            yield reporter.report(epoch.params, epoch.state, rules.is_due(number))
            number += 1


def streamed_batches(
    solver: LevenbergMarquardt,
    objective: StreamedObjective,
    validation: StreamedObjective | None,
    flat: Vector,
    batches: Batches,
    rules: Rules,
    number: int,
    audience: Audience | None,
    bounds: FeasibleSet | Orthants | None,
    place: Place | None = None,
) -> Iterator[Report]:
    """One epoch in a report, without end, from epoch ``number`` on; the batches come in the order
    of the stream.
    """
    params = jnp.asarray(flat)
    state = initial_batch_state(params) if place is None else place.state
    reporter = _Reporter(solver.damping, objective, validation, params)
    stream = objective.stream.rechunked(min(batches.size, objective.stream.num_rows))
    by_batch = audience if audience is not None and audience.by_batch else None
    while True:
        left = stream.num_rows
        for index, rows in enumerate(stream):
            if index == batches.most:
                break
            interrupts.check()
            rows = mean_over(min(left, stream.chunk_rows), rows)
            left -= stream.chunk_rows
            batch = jax.tree.map(jnp.asarray, rows)
            if by_batch is not None:
                by_batch.begin_batch(index, params)
            params, state, loss = one_batch(
                *(solver, MOMENTUM, dataclasses.replace(objective.template, rows=batch)),
                *(params, state, bounds),
            )
            if by_batch is not None and by_batch.end_batch(index, float(loss), params):
                break
        yield reporter.report(params, state, rules.is_due(number))
        number += 1


one_batch = recent(static_argnums=(0, 1))(batch_step)
"""A compiled :func:`lmjax._src.training.epochs.batch_step.batch_step`."""


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
    bounds: FeasibleSet | Orthants | None,
) -> tuple[jax.Array, BatchState, jax.Array]:
    """The steps on the batches from ``first`` to ``until``, and the loss of the last one before its
    step; ``batches`` are row numbers and weights, (batches, rows).
    """
    order, shares = batches

    def body(
        index: jax.Array, carry: tuple[jax.Array, BatchState, jax.Array]
    ) -> tuple[jax.Array, BatchState, jax.Array]:
        chosen, share = order[index], shares[index]
        inputs, targets, weights = jax.tree.map(lambda leaf: leaf[chosen], objective.rows)
        batch = dataclasses.replace(
            objective,
            rows=Rows(inputs, targets, share if weights is None else times_rows(weights, share)),
        )
        return batch_step(solver, momentum, batch, *carry[:2], bounds)

    none = jnp.zeros((), params.dtype)
    return jax.lax.fori_loop(first, until, body, (params, state, none))


def loss_of(objective: SupervisedObjective | StreamedObjective, params: jax.Array) -> float:
    """The loss on all rows, as a number."""
    if isinstance(objective, StreamedObjective):
        return float(objective.cost(objective.evaluate(params)))
    return float(loss_at(objective, params))


@recent()
def loss_at(objective: SupervisedObjective, params: jax.Array) -> jax.Array:
    """The loss on all rows."""
    return objective.cost(objective.evaluate(params))
