"""The host's side of a fit: history, progress, callbacks, and what is left of a fit that is cut
short, whatever runs the epochs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.runtime import interrupts, precision
from lmjax._src.training.progress import ProgressLine
from lmjax._src.typing import Params

#: Called after an epoch with its number (from 0) and its numbers by name; what counts as true ends
#: the fit.
Callback = Callable[[int, dict[str, float]], object]


class Report(NamedTuple):
    """What some epochs of a fit came to; lists have one number an epoch."""

    params: Vector  #: the best so far
    numbers: dict[str, list[float]]  #: ``loss`` and, with validation data, ``val_loss``
    status: Status
    start: float  #: the loss at which these epochs began; only that of the first report counts
    sampled: bool = False  #: whether JᵀJ of these epochs came from a sample of the rows


def with_offsets(
    reports: Iterator[Report], offset: float, offset_of_validation: float
) -> Iterator[Report]:
    """``reports`` with the offsets in the numbers of their epochs; ``start`` stays the cost."""
    added = {"loss": offset, "val_loss": offset_of_validation}
    for report in reports:
        numbers = {
            name: [value + added.get(name, 0.0) for value in values] if added.get(name) else values
            for name, values in report.numbers.items()
        }
        yield report._replace(numbers=numbers)


def check_callbacks(callbacks: Callback | Sequence[Callback]) -> tuple[Callback, ...]:
    """``callbacks`` as a tuple of functions.

    Raises:
        TypeError: one cannot be called.
    """
    given = (callbacks,) if callable(callbacks) else tuple(callbacks or ())
    for callback in given:
        if not callable(callback):
            raise TypeError(f"callbacks: expected functions of (epoch, logs), got {callback!r}")
    return given


class Record:
    """What is known of a fit, also when it is cut short.

    Attributes:
        params: the best so far; None before the first report.
        start: the loss at the start.
        status: why the fit stopped; ``INTERRUPTED`` until it has.
        sampled_steps: the epochs whose JᵀJ came from a sample of the rows.
    """

    def __init__(self) -> None:
        self.params: Params = None
        self.start = math.nan
        self.status = Status.INTERRUPTED
        self.sampled_steps = 0
        self._numbers: dict[str, list[float]] = {}
        self._done, self._elapsed, self._begin = 0, 0.0, time.perf_counter()

    @property
    def history(self) -> dict[str, list[float]]:
        """Lists with a number for each epoch that is done, ``seconds`` among them."""
        return {name: values[: self._done] for name, values in self._numbers.items()}

    def follow(
        self,
        reports: Iterator[Report],
        epochs: int,
        progress: ProgressLine,
        callbacks: Sequence[Callback],
        watch: interrupts.Watch,
    ) -> None:
        """Takes reports until ``epochs`` epochs are done, the run stops, a callback wants to stop,
        or a signal comes.

        Raises:
            KeyboardInterrupt: the signal came before the first report, so that there is nothing to
                keep.
            BaseException: what the data, a callback or the computation raised; what was known
                before is kept.
        """
        self._begin = time.perf_counter()
        try:
            for report in reports:
                took = self._take(report)
                watch.patience = 1
                wish = took and self._show(progress, callbacks)
                status = (
                    Status.STOPPED if wish and report.status == Status.RUNNING else report.status
                )
                if status != Status.RUNNING or self._done >= epochs:
                    self.status = Status.MAX_STEPS if status == Status.RUNNING else status
                    break
                interrupts.check()
        except KeyboardInterrupt:
            watch.heeded = True
            if self.params is None:
                raise
        finally:
            if self.params is not None:
                watch.patience = math.inf

    def _take(self, report: Report) -> bool:
        """Adds a report, and says whether it is of any epochs; ``_done`` last, so that the record
        is whole wherever this is left.
        """
        if self.params is None:
            self.start = report.start
        elapsed = time.perf_counter() - self._begin
        count = len(report.numbers["loss"])
        seconds = (
            self._elapsed + (elapsed - self._elapsed) * np.arange(1, count + 1) / max(count, 1)
        ).tolist()
        for name, values in (report.numbers | {"seconds": seconds}).items():
            self._numbers.setdefault(name, []).extend(values)
        self.params, self._elapsed = report.params, elapsed
        self.sampled_steps += count * report.sampled
        self._done += count
        return count > 0

    def _show(self, progress: ProgressLine, callbacks: Sequence[Callback]) -> bool:
        """Shows where the fit stands; whether a callback wants it to stop."""
        logs = {name: values[self._done - 1] for name, values in self._numbers.items()}
        progress.update(
            self._done, {name: value for name, value in logs.items() if name != "seconds"}
        )
        return _wish_to_stop(callbacks, self._done - 1, logs)


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


def _wish_to_stop(callbacks: Sequence[Callback], epoch: int, logs: dict[str, float]) -> bool:
    """Whether a callback returns something true, such as NumPy's; all are called, also when one of
    them has had enough.
    """
    with precision.outside():
        wishes = [bool(callback(epoch, dict(logs))) for callback in callbacks]
    return any(wishes)
