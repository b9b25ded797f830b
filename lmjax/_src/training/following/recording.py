"""The host's side of a fit: history, progress, callbacks, and what is left of a fit that is cut
short, whatever runs the epochs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol

import numpy as np

from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.plots.names import NOT_METRICS
from lmjax._src.runtime import interrupts
from lmjax._src.training.following.continuation import FitState, Place, on_host
from lmjax._src.training.following.listening import Audience, Wish
from lmjax._src.training.following.selection import Kept, Rules
from lmjax._src.typing import PyTree


class Report(NamedTuple):
    """What some epochs of a fit came to; lists have one number an epoch."""

    params: Vector  #: after the last of them
    #: ``loss``, with validation data ``val_loss``, and what is told of steps
    numbers: dict[str, list[float]]
    status: Status
    start: float  #: the loss at which these epochs began; only that of the first report counts
    sampled: bool = False  #: whether JᵀJ of these epochs came from a sample of the rows
    kept: Kept | None = None  #: where a compiled loop has followed the validation loss
    seconds: float = 0.0  #: that they took in a compiled loop, what prepares it left out
    place: Place | None = None  #: where more epochs go on


#: The reports of a run from parameters on, after so many epochs, with what is kept until then, and
#: with what was carried beside the parameters, if they are not new.
Run = Callable[[Vector, int, Kept | None, Place | None], Iterator[Report]]


def with_offsets(reports: Iterator[Report], offsets: Mapping[str, float]) -> Iterator[Report]:
    """``reports`` of costs as those of the losses that are reported, which have ``offsets``
    beside.
    """
    for report in reports:
        numbers = {
            name: [value + offsets[name] for value in values] if offsets.get(name) else values
            for name, values in report.numbers.items()
        }
        kept = None if report.kept is None else report.kept.shifted(offsets["val_loss"])
        yield report._replace(numbers=numbers, start=report.start + offsets["loss"], kept=kept)


class Shows(Protocol):
    """Where epochs are shown, such as :class:`~lmjax._src.training.following.progress.Progress`."""

    def update(self, epoch: int, metrics: dict[str, float]) -> None:
        """Shows the metrics after ``epoch`` epochs of this fit."""


class Record:
    """What is known of a fit, also when it is cut short.

    Args:
        rules: which parameters are returned, and when it is enough.
        whole: whether steps are taken on all rows, so that every epoch lowers the loss, if only by
            what rounding hides.

    Attributes:
        params: those to return; None before the first report.
        start: the loss at the start.
        val_start: the validation loss there; NaN without validation data.
        status: why the fit stopped; ``INTERRUPTED`` until it has.
        sampled_steps: the epochs whose JᵀJ came from a sample of the rows.
    """

    def __init__(self, rules: Rules, *, whole: bool) -> None:
        self._rules, self._whole = rules, whole
        #: Whether every epoch so far has lowered the loss.
        self._monotone = whole
        self._decided = False  #: whether a callback has put in what is returned
        self._kept: Kept | None = None
        self._now: Vector
        self.params: PyTree = None
        self.start = self.val_start = math.nan
        self.status = Status.INTERRUPTED
        self.sampled_steps = 0
        self._least, self._least_epoch = math.inf, -1
        self._place: Place | None = None
        self._before: FitState | None = None
        self._origin: Mapping[str, float] | None = None
        self._held = math.nan  #: the validation loss that an epoch has to be below
        self._numbers: dict[str, list[float]] = {}
        self._done, self._elapsed, self._begin = 0, 0.0, time.perf_counter()

    @property
    def history(self) -> dict[str, list[float]]:
        """Lists with a number for each epoch that is done, ``seconds`` among them; ``val_loss`` for
        those that have one.
        """
        lists = {name: values[: self._done] for name, values in self._numbers.items()}
        due = self._rules.due(0, self._done)
        if due is not None and "val_loss" in lists:
            lists["val_loss"] = np.asarray(lists["val_loss"])[due].tolist()
        return lists

    @property
    def best_epoch(self) -> int | None:
        """The number of the epoch, from 0, whose parameters are returned; None for the start, for
        those of an earlier fit, and for those that a callback has put in at the end.
        """
        if self._decided:
            return None
        if self._rules.restore == "validation":
            values = np.asarray(self._numbers.get("val_loss", [])[: self._done])
            below = np.where(values >= self._held, np.inf, values)
            found = np.flatnonzero(np.isfinite(below))
            return int(found[below[found].argmin()]) if found.size else None
        return None if self._least_epoch < 0 else self._least_epoch

    def follow(
        self,
        run: Run,
        start: Vector,
        kept: Kept | None,
        epochs: int,
        progress: Shows,
        audience: Audience | None,
        watch: interrupts.Watch,
        began: float | None = None,
    ) -> None:
        """Takes reports until all epochs are done, the run stops, somebody wants to stop, or a
        signal comes.

        Args:
            run: begins at given parameters; a second time where the audience has put in others.
            start: the parameters to begin with.
            kept: before the first epoch; None without validation data.
            epochs: the most epochs.
            progress: where it is shown.
            audience: who is told; None for nobody.
            watch: for signals.
            began: when it did, by ``time.perf_counter``; None for now.

        Raises:
            KeyboardInterrupt: the signal came before the first report, so that there is nothing to
                keep.
            BaseException: what the data, a callback or the computation raised; what was known
                before is kept.
        """
        self._begin = time.perf_counter() if began is None else began
        self._kept, self._now = kept, start
        self._held = math.nan if kept is None else float(kept.least)
        if self._before is None:
            self.val_start = self._held
        try:
            reports = run(start, 0, kept, self._place)
            while self.status == Status.INTERRUPTED and self._done < epochs:
                before = self._done
                self._announce(audience)
                status = self._take_next(reports, watch)
                wish = self._tell(audience) if self._done > before else None
                self._show(progress, before, wish)
                self._end(status, wish)
                if wish is not None and wish.params is not None:
                    reports = run(wish.params, self._done, self._kept, None)
                interrupts.check()
            if self.status == Status.INTERRUPTED:
                self.status = Status.MAX_STEPS
        except KeyboardInterrupt:
            watch.heeded = True
            if self.params is None:
                raise
        finally:
            if self.params is not None:
                watch.patience = math.inf

    def skip(self, epochs: int) -> Rules:
        """The rules of this run where an earlier one has done so many epochs."""
        self._rules = self._rules._replace(skipped=epochs)
        return self._rules

    def resume(
        self, before: FitState, start: Kept | None, rules: Rules
    ) -> tuple[Kept | None, Status]:
        """Goes on from where an earlier fit was left, before :meth:`follow`.

        Args:
            before: where.
            start: of the parameters there.
            rules: of this fit.

        Returns:
            What is kept there, and why no epoch is to follow; RUNNING if one is.
        """
        self._before, self._place = before, before.place
        self._monotone = self._whole and bool(before.monotone)
        self.val_start = math.nan if start is None else float(start.least)
        return before.kept, before.end(rules)

    def stay(
        self, start: Vector, loss: float, kept: Kept | None, status: Status = Status.MAX_STEPS
    ) -> None:
        """In place of :meth:`follow` where an earlier run has done all epochs: ``start``, of that
        ``loss``, is what is returned.
        """
        self.params = start if self._before is None else self._before.best
        self.start, self.status = loss, status
        self._numbers = {"loss": [], "seconds": []}
        if kept is not None:
            self._held, self._numbers["val_loss"] = float(kept.least), []
            if self._before is None:
                self.val_start = self._held

    @property
    def outcome(self) -> tuple[float, float, int]:
        """The losses by which its parameters may be chosen, of training and of validation, and how
        many epochs are done.
        """
        losses = self._numbers["loss"][: self._done]
        last = self._rules.restore == "last"
        passed = [loss for loss in (self.start, *losses) if not math.isnan(loss)]
        loss = losses[-1] if last else min(passed, default=math.nan)
        return loss, math.nan if self._kept is None else float(self._kept.least), self._done

    @property
    def rank(self) -> float:
        """The loss by which its parameters were chosen, infinite where that is no number."""
        loss, val_loss, _ = self.outcome
        value = val_loss if self._rules.restore == "validation" else loss
        return math.inf if math.isnan(value) else value

    @property
    def evidence(self) -> Any:
        """Of the last epoch, where regularization is Bayesian; else None."""
        return None if self._place is None else self._place.evidence

    def adopt(self, best: Record, origin: Mapping[str, float]) -> None:
        """Becomes ``best``, of one of several starts, the first of which had the losses ``origin``
        before its first epoch.
        """
        vars(self).update(vars(best))
        self._origin = origin

    @property
    def origin(self) -> Mapping[str, float]:
        """The losses at the start: of the first of several fits that go on, or of several
        starts.
        """
        if self._origin is not None:
            return self._origin
        now = {"loss": self.start, "val_loss": self.val_start}
        return now if self._before is None else self._before.origin

    def state(self, made_by: tuple[tuple[str, str], ...]) -> FitState | None:
        """What a fit goes on from; None where there is nothing to go on from.

        ``made_by`` is what has to be the same then.
        """
        if not self._done:
            return self._before
        logs = {name: values[self._done - 1] for name, values in self._numbers.items()}
        del logs["seconds"]
        earlier = 0 if self._before is None else int(self._before.epochs)
        return on_host(
            FitState(
                *(self._now, self._place, self._kept, self.params, self._least),
                *(dict(self.origin), logs, earlier + self._done, self._monotone),
                *(int(self.status), made_by),
            )
        )

    def _announce(self, audience: Audience | None) -> None:
        if audience is not None:
            audience.begin_epoch(self._done)
            if self._whole:
                audience.begin_batch(0, self._now)

    def _take_next(self, reports: Iterator[Report], watch: interrupts.Watch) -> Status:
        """Takes reports until one is of any epochs, or of the end; returns its status."""
        for report in reports:
            took = self._take(report)
            watch.patience = 1
            if took or report.status != Status.RUNNING:
                return report.status
            interrupts.check()
        raise AssertionError("reports have no end")

    def _take(self, report: Report) -> bool:
        """Adds a report, and says whether it is of any epochs; ``_done`` last, so that the record
        is whole wherever this is left.
        """
        if self.params is None:
            self.start = self._least = report.start
            self.params = self._now
            if self._before is not None:
                self._least, self.params = float(self._before.least), self._before.best
        elapsed = time.perf_counter() - self._begin
        count = len(report.numbers["loss"])
        seconds = (
            self._elapsed + (elapsed - self._elapsed) * np.arange(1, count + 1) / max(count, 1)
        ).tolist()
        for name, values in (report.numbers | {"seconds": seconds}).items():
            self._numbers.setdefault(name, []).extend(values)
        if count:
            self._choose(report, self._done + count - 1)
        self._now, self._place, self._elapsed = report.params, report.place, elapsed
        self.sampled_steps += count * report.sampled
        self._done += count
        return count > 0

    def _choose(self, report: Report, epoch: int) -> None:
        """The parameters to return, after a report that ends with epoch number ``epoch``."""
        if self._kept is not None:
            self._kept = report.kept or self._kept.after(
                report.params, np.asarray(report.numbers["val_loss"][-1])
            )
        if self._rules.restore == "validation":
            assert self._kept is not None
            self.params = self._kept.params
            return
        loss = report.numbers["loss"][-1]
        if self._monotone or self._rules.restore == "last" or loss < self._least:
            self.params, self._least, self._least_epoch = report.params, loss, epoch

    def _tell(self, audience: Audience | None) -> Wish | None:
        if audience is None:
            return None
        logs = self._logs(self._done - 1)
        stop = self._whole and audience.end_batch(0, logs["loss"], self._now)
        wish = audience.end_epoch(self._done - 1, logs, self._now)
        return wish._replace(stop=wish.stop or stop)

    def _show(self, progress: Shows, before: int, wish: Wish | None) -> None:
        """Shows the epochs from number ``before`` on."""
        for epoch in range(before, self._done):
            logs = self._logs(epoch) if wish is None else wish.logs
            progress.update(epoch + 1, {k: v for k, v in logs.items() if k not in NOT_METRICS})

    def _logs(self, epoch: int) -> dict[str, float]:
        """The numbers of an epoch; without a validation loss if it has none."""
        logs = {name: values[epoch] for name, values in self._numbers.items()}
        if not self._rules.is_due(epoch):
            logs.pop("val_loss", None)
        return logs

    def _end(self, status: Status, wish: Wish | None) -> None:
        """Sets the status if there is a reason to end: that of the run first, then those of the
        caller.
        """
        if status == Status.RUNNING:
            logs = self._logs(self._done - 1)
            status = self._rules.verdict(logs, self._kept, self._elapsed)
        if status == Status.RUNNING and wish is not None and wish.stop:
            status = Status.STOPPED
        ended = status != Status.RUNNING
        if ended:
            self.status = status
        if wish is not None and wish.params is not None:
            self._now, self._place, self._monotone = wish.params, None, False
            if ended:
                self.params, self._decided = wish.params, True


@contextmanager
def kept(record: Record, result: Callable[[], Any]) -> Iterator[None]:
    """Hangs ``result()`` onto the exception that ends the block, if there is one and anything was
    reported before it.
    """
    try:
        yield
    except BaseException as error:
        detach(error)
        if record.params is not None:
            attach(
                error,
                result(),
                "lmjax: what was trained before this is kept in the attribute `result` "
                "of this exception",
            )
        raise


def attach(error: BaseException, result: Any, note: str) -> None:
    """Hangs ``result`` onto an exception as its attribute ``result``, and ``note`` below its
    message.
    """
    # An exception of the caller's that takes no attributes.
    with suppress(AttributeError, TypeError):
        error.result = result  # type: ignore[attr-defined]
        error.add_note(note)


def detach(error: BaseException) -> None:
    """Takes off what an earlier fit hung onto an exception that is raised once more."""
    with suppress(AttributeError, TypeError):
        del error.result  # type: ignore[attr-defined]
