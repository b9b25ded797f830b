"""Several starts of one fit, of which the best counts: side by side in one compiled loop, or one
after the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.active_set import Orthants
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.state import State
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.linear_solvers.auto import matrix_budget
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime import interrupts
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.runtime.slices import slices
from lmjax._src.training.bayesian.evidence import NOISES, Evidence, Prior, first_evidence
from lmjax._src.training.bayesian.laplace import evidence_of
from lmjax._src.training.epochs.alternation import alternating_reports_of
from lmjax._src.training.epochs.course import Course
from lmjax._src.training.epochs.epochs import (
    RECORD,
    EpochRun,
    Limits,
    by_arrays,
    numbers_of,
    run_epochs,
)
from lmjax._src.training.epochs.minibatch import loss_of
from lmjax._src.training.epochs.sampling import takes_long
from lmjax._src.training.epochs.stages import first_state, stages
from lmjax._src.training.following.continuation import Place
from lmjax._src.training.following.progress import Progress
from lmjax._src.training.following.recording import Record, Report, with_offsets
from lmjax._src.training.following.selection import Kept, Rules
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.typing import Scalar

#: Products in JᵀJ, or J Jᵀ, of one start, above which a CPU is faster with one after the other.
#: Side by side the dispatch of small operations is shared: on two cores, in float64, 20 starts of
#: 10 parameters on 30 rows take an eighth of the time, 10 of 31 on 200 two thirds; 6 of 61 on 1000
#: rows, 3.7 million products, 1.8 times as much, and their program 2.5 times as long to compile.
_MOST_ON_HOST = 2_000_000


class Start(NamedTuple):
    """Where a fit begins."""

    params: Vector  #: (P,)
    kept: Kept | None  #: None without validation data
    number: int = 0  #: among those that a caller knows of
    prior: Prior | None = None  #: where regularization is Bayesian

    def course(self, common: Course) -> Course:
        """Of a fit from here."""
        return common if self.prior is None else common._replace(prior=self.prior)


def strengths(starts: Sequence[Start], prior: Prior | None) -> list[Start]:
    """``starts``, each with every noise that a Bayesian regularization may begin with; the better
    of a start counts.
    """
    if prior is None:
        return list(starts)
    return [
        start._replace(prior=prior._replace(noise=noise)) for start in starts for noise in NOISES
    ]


class Restart(NamedTuple):
    """What came of one of several starts.

    Attributes:
        loss: the least training loss, or that after the last epoch where that is asked for.
        val_loss: the least validation loss; NaN without validation data.
        epochs: how many were done.
        status: why it stopped; ``RUNNING`` where another start had reached the goal by then.
    """

    loss: float
    val_loss: float
    epochs: int
    status: Status


class Race(NamedTuple):
    """What came of all of them."""

    ends: list[Restart]  #: of each that had an epoch, in their order
    best: int  #: the number of the best
    records: list[Record]  #: of the same
    start: Start | None  #: the best


def follow_best(
    course: Course,
    record: Record,
    starts: Sequence[Start],
    progress: Progress,
    watch: interrupts.Watch,
) -> Race:
    """Follows a fit from the only start, or from the best of several; see :func:`race`.

    A listener hears of the best alone, which is fitted once more for that.
    """
    ran, told = Race([], 0, [], starts[0]), record
    if len(starts) > 1:
        ran = race(course, record, starts, progress, watch)
        if course.audience is None:
            return ran
        told = Record(course.rules, whole=course.batches is None)
    start = ran.start or starts[0]
    run = partial(alternating_reports_of, start.course(course))
    try:
        told.follow(
            *(run, start.params, start.kept, course.epochs, progress, course.audience, watch)
        )
    finally:
        if told is not record and told.params is not None:
            record.adopt(told, record.origin)
    return ran


def race(
    course: Course,
    record: Record,
    starts: Sequence[Start],
    progress: Progress,
    watch: interrupts.Watch,
) -> Race:
    """Fits from all ``starts``, each to its own end; ``record`` becomes that of the best.

    Side by side, or one after the other by the programs of a single fit. With a listener, who
    hears nothing of this, it is the latter, and gives the very epochs that a fit from the best
    start would have.

    Raises:
        KeyboardInterrupt: a signal came before the first epoch was done.
        BaseException: whatever ended it; ``record`` has the best until then.
    """
    ended: list[tuple[Record, Status]] = []
    best: dict[int, int] = {}  # of each number, the place
    try:
        if _go_side_by_side(course, starts):
            _side_by_side(course, starts, progress, watch, ended)
        else:
            _in_turn(course._replace(audience=None), starts, progress, watch, ended)
    finally:
        if ended:
            ranks = [_rank(course, one) for one, _ in ended]
            for place, start in enumerate(starts[: len(ended)]):
                before = best.setdefault(start.number, place)
                best[start.number] = min(before, place, key=ranks.__getitem__)
            first = min(best.values(), key=ranks.__getitem__)
            record.adopt(ended[first][0], ended[0][0].origin)
    kept = [ended[place] for place in best.values()]
    return Race(
        [Restart(*one.outcome, status) for one, status in kept],
        starts[first].number,
        [one for one, _ in kept],
        starts[first],
    )


def _rank(course: Course, record: Record) -> float:
    """The lower the better: a loss, or where regularization is Bayesian and no validation data
    decide, the evidence.
    """
    if course.prior is None or record.evidence is None or course.validation is not None:
        return record.rank
    if not np.isfinite(record.rank):
        return math.inf
    return -evidence_of(course.objective, record.params, record.evidence, course.prior)


def _go_side_by_side(course: Course, starts: Sequence[Start]) -> bool:
    """Whether all starts go into one compiled loop."""
    if any(each is not None for each in (course.audience, course.batches, course.adam)):
        return False
    objective, params, form = course.objective, starts[0].params, course.solver.linear.form
    if isinstance(objective, StreamedObjective):
        return False
    if objective.summed(in_double=True).dtype_of_sums(params, form) != vectors.dtype(params):
        return False  # vmap does not know of float64 within float32
    rows, size = objective.num_residuals(params), vectors.size(params)
    on_host = jax.default_backend() == "cpu"
    if on_host and rows * size * min(rows, size) > _MOST_ON_HOST:
        return False
    bytes_of_one = objective.form_bytes(params, form)
    return bytes_of_one is not None and bytes_of_one * len(starts) <= matrix_budget()


def _in_turn(
    course: Course,
    starts: Sequence[Start],
    progress: Progress,
    watch: interrupts.Watch,
    ended: list[tuple[Record, Status]],
) -> None:
    """One after the other; those that are to come have equal shares of the time that is left."""
    began, whole = time.perf_counter(), course.batches is None
    for number, start in enumerate(starts):
        left = course.rules.max_seconds - (time.perf_counter() - began)
        rules = course.rules._replace(max_seconds=max(left, 0.0) / (len(starts) - number))
        record = Record(rules, whole=whole)
        try:
            record.follow(
                partial(alternating_reports_of, start.course(course)._replace(rules=rules)),
                start.params,
                start.kept,
                course.epochs,
                _Numbered(progress, start.number + 1),
                None,
                watch,
            )
        except KeyboardInterrupt:
            if not ended:
                raise
            watch.heeded = True
            return
        finally:
            if record.params is not None:
                ended.append((record, record.status))
        if record.status in (Status.GOAL, Status.INTERRUPTED):
            return


class _Numbered:
    """A progress that says which start it is."""

    def __init__(self, progress: Progress, number: int) -> None:
        self._progress, self._number = progress, number

    def update(self, epoch: int, metrics: dict[str, float]) -> None:
        """See :class:`~lmjax._src.training.following.progress.Progress`."""
        self._progress.update(epoch, {"start": self._number, **metrics})


class _Silent:
    """A progress that shows nothing."""

    def update(self, epoch: int, metrics: dict[str, float]) -> None:
        """Leaves it."""


class _Lane:
    """One of the starts that go side by side: all of its epochs in one report.

    Args:
        params: where it begins, in the form that the solver takes.
        kept: there, in costs.
        stage: the number of the only stage.
        prior: where regularization is Bayesian.
    """

    def __init__(
        self, params: Vector, kept: Kept | None, stage: int, prior: Prior | None = None
    ) -> None:
        self.params, self.kept, self.prior, self._stage = params, kept, prior, stage
        self._report: Report | None = None

    @property
    def report(self) -> Report:
        """After the first slice."""
        assert self._report is not None
        return self._report

    @property
    def epochs(self) -> int:
        """How many are done."""
        return 0 if self._report is None else len(self._report.numbers["loss"])

    def take(self, run: EpochRun, course: Course) -> None:
        """Adds a slice of epochs."""
        numbers = numbers_of(course, run, int(run.epochs))
        if self._report is not None:
            numbers = {name: self._report.numbers[name] + numbers[name] for name in numbers}
        status, start = Status(int(run.state.status)), float(run.state.start_cost)
        place = Place(run.params, run.state, self._stage, run.slow, run.evidence)
        self._report = Report(run.params, numbers, status, start, kept=run.kept, place=place)

    def has_ended(self, rules: Rules) -> bool:
        """Whether it goes on no more, by itself or by ``rules`` in costs."""
        if self._report is None:
            return False
        logs = {name: values[-1] for name, values in self._report.numbers.items()}
        ends = self._report.status, rules.verdict(logs, self._report.kept, -1.0)
        return any(end != Status.RUNNING for end in ends)


def _side_by_side(
    course: Course,
    starts: Sequence[Start],
    progress: Progress,
    watch: interrupts.Watch,
    ended: list[tuple[Record, Status]],
) -> None:
    """All in one compiled loop, which goes on for as long as one of them does."""
    began, rules, offsets = time.perf_counter(), course.rules, course.offsets
    in_costs = rules._replace(goal=rules.goal - offsets["loss"])
    forms = [
        by_arrays(
            course,
            start.params,
            None if start.kept is None else start.kept.shifted(-offsets["val_loss"]),
        )
        for start in starts
    ]
    common, params, _ = forms[0]
    *before, objective = stages(common.solver, common.objective, params)
    lanes = [
        _Lane(params, kept, len(before), start.prior)
        for (_, params, kept), start in zip(forms, starts, strict=True)
    ]
    try:
        for _ in _slices(common._replace(rules=in_costs), objective, lanes):
            watch.patience = 1
            cost = min(lane.report.numbers["loss"][-1] for lane in lanes)
            shown = {"loss": cost + offsets["loss"], "starts": starts[-1].number + 1}
            progress.update(max(lane.epochs for lane in lanes), shown)
            if cost <= in_costs.goal or time.perf_counter() - began >= rules.max_seconds:
                break
    except KeyboardInterrupt:
        if not lanes[0].epochs:
            raise
        watch.heeded = True
    for lane, start in zip(lanes, starts, strict=True):
        record = Record(rules, whole=True)
        reports = with_offsets(iter([lane.report]), offsets)
        record.follow(
            lambda *_, reports=reports: reports,
            start.params,
            start.kept,
            lane.epochs,
            _Silent(),
            None,
            watch,
            began,
        )
        cut = record.status == Status.MAX_STEPS and lane.epochs < course.epochs
        ended.append((record, Status.RUNNING if cut else record.status))


def _slices(
    course: Course, objective: SupervisedObjective, lanes: Sequence[_Lane]
) -> Iterator[None]:
    """Slices of epochs of all ``lanes`` that have not ended."""
    rules, dtype = course.rules, vectors.dtype(lanes[0].params)
    goal: Scalar = np.asarray(rules.goal - course.offsets["loss"], dtype)
    min_grad: Scalar = np.asarray(rules.min_grad, dtype)
    long = takes_long(objective.num_residuals(lanes[0].params), vectors.size(lanes[0].params))
    loop = _slowly_compiled if long else _quickly_compiled

    def stacked(parts: list[Any]) -> Any:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)

    def advance(run: EpochRun, steps: int) -> EpochRun:
        done = max(lane.epochs for lane in lanes)
        most = min(steps, course.epochs - done)
        numbers = np.asarray([0 if lane.has_ended(rules) else most for lane in lanes], np.int32)
        limits = Limits(numbers, rules.patience_number, goal, min_grad, rules.due(done, RECORD))
        return jax.block_until_ready(
            loop(
                *(course.solver, objective, course.validation, course.bounds),
                *(run.params, run.state, run.slow, limits, run.kept, run.evidence),
            )
        )

    params = stacked([lane.params for lane in lanes])
    state = stacked([first_state(lane.params) for lane in lanes])
    kept = None if lanes[0].kept is None else stacked([lane.kept for lane in lanes])
    nothing: Any = None  # the compiled loop makes these anew in every call
    slow: Scalar = np.zeros(len(lanes), np.int32)
    evidence = None
    if course.prior is not None:
        losses = [loss_of(course.objective, lane.params) for lane in lanes]
        firsts = [
            first_evidence(lane.prior or course.prior, lane.params, loss)
            for lane, loss in zip(lanes, losses, strict=True)
        ]
        evidence = stacked(firsts)
    begin = EpochRun(params, state, nothing, nothing, nothing, nothing, slow, kept, evidence)
    for run, _, _ in slices(advance, begin, 1, RECORD):
        on_host = jax.device_get(run)
        for number, lane in enumerate(lanes):
            lane.take(jax.tree.map(lambda leaf: leaf[number], on_host), course)  # noqa: B023 - used at once
        yield
        if all(lane.has_ended(rules) or lane.epochs >= course.epochs for lane in lanes):
            return


def _run_all(
    solver: LevenbergMarquardt,
    objective: SupervisedObjective,
    validation: SupervisedObjective | None,
    bounds: FeasibleSet | Orthants | None,
    params: Vector,
    states: State,
    slow: jax.Array,
    limits: Limits,
    kept: Kept | None,
    evidence: Evidence | None,
) -> EpochRun:
    """Epochs from several parameters; ``limits.epochs`` has a number for each of them."""

    def one(
        params: Vector,
        state: State,
        slow: jax.Array,
        epochs: jax.Array,
        kept: Kept | None,
        evidence: Evidence | None,
    ) -> EpochRun:
        own = limits._replace(epochs=epochs)
        return run_epochs(
            *(solver, objective, validation, bounds, params, state, slow, own, kept, evidence)
        )

    run: EpochRun = jax.vmap(one)(params, states, slow, limits.epochs, kept, evidence)
    return run


_slowly_compiled = recent(static_argnums=(0,))(_run_all)
_quickly_compiled = recent(static_argnums=(0,), effort=Effort.LEAST)(_run_all)
