"""The host's side of a fit: history, progress, callbacks and Ctrl-C, whatever runs the epochs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lmjax import precision
from lmjax.progress import ProgressLine
from lmjax.status import Status
from lmjax.vectors import Vector

#: Called after an epoch with its number (from 0) and its numbers by name; what counts as true ends the fit.
Callback = Callable[[int, dict[str, float]], Any]


class Report(NamedTuple):
    """What some epochs of a fit came to; lists have one number an epoch."""

    params: Vector  #: the best so far
    numbers: dict[str, list[float]]  #: ``loss`` and, with validation data, ``val_loss``
    status: Status


def check_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """``callbacks`` as a tuple of functions.

    Raises:
        TypeError: one cannot be called.
    """
    given = (callbacks,) if callable(callbacks) else tuple(callbacks or ())
    for callback in given:
        if not callable(callback):
            raise TypeError(f"callbacks: expected functions of (epoch, logs), got {callback!r}")
    return given


def record(
    reports: Iterator[Report], epochs: int, progress: ProgressLine, callbacks: Sequence[Callback] = ()
) -> tuple[Any, dict[str, list[float]], Status]:
    """Takes reports until ``epochs`` epochs are done, the run stops, a callback wants to stop, or Ctrl-C.

    Returns:
        (params, history, status); the history has ``seconds`` beside the reports' numbers.

    Raises:
        KeyboardInterrupt: Ctrl-C came before the first report, so that there is nothing to keep.
    """
    history: dict[str, list[float]] = {}
    params, status, done, elapsed = None, Status.RUNNING, 0, 0.0
    begin = time.perf_counter()
    try:
        for report in reports:
            before, elapsed = elapsed, time.perf_counter() - begin
            params, status = report.params, report.status
            count = len(report.numbers["loss"])
            seconds = (before + (elapsed - before) * np.arange(1, count + 1) / max(count, 1)).tolist()
            for name, values in (report.numbers | {"seconds": seconds}).items():
                history.setdefault(name, []).extend(values)
            done += count
            logs = {name: values[-1] for name, values in history.items() if values}
            progress.update(done, {name: value for name, value in logs.items() if name != "seconds"})
            if _wish_to_stop(callbacks, done - 1, logs) and status == Status.RUNNING:
                status = Status.STOPPED
            if status != Status.RUNNING or done >= epochs:
                break
    except KeyboardInterrupt:
        if params is None:
            raise
        status = Status.INTERRUPTED
    return params, history, Status.MAX_STEPS if status == Status.RUNNING else status


def _wish_to_stop(callbacks: Sequence[Callback], epoch: int, logs: dict[str, float]) -> bool:
    """Whether a callback returns something true, such as NumPy's; all are called, also when one of them has had enough."""
    with precision.outside():
        return any([bool(callback(epoch, dict(logs))) for callback in callbacks])
