"""Signals that ask a fit to end: Ctrl-C, and what a scheduler, a shutdown or a closed terminal
sends.

A :class:`Watch` notes them instead of letting them raise wherever the program happens to be, in
code of the caller's or of JAX's, some of which drops exceptions. A fit asks :func:`check` where it
can stop at once and lose nothing.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_local = threading.local()
#: Functions out of which no exception comes: JAX's when garbage is collected, and of the end of an
#: object.
_DROPPING = ("_xla_gc_callback", "__del__")


class Interruption(KeyboardInterrupt):
    """A signal has asked for the end; ``number`` says which. It never leaves the outermost block of
    :func:`watching`.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Termination(SystemExit):
    """SIGTERM or SIGHUP has asked for the end of the program, which comes as by ``sys.exit``, with
    the exit code that shells give it.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


class Watch:
    """Which signal has come, and how many more are only noted.

    Attributes:
        received: the number of the first signal; None before one came.
        patience: how many signals are noted before one raises :class:`Interruption` where the
            program happens to be: none while there is nothing to lose, one during a training
            (whatever hangs then is left with the second), any number once there is something to be
            brought home.
        heeded: whether the caller learns of the signal by a result or an exception.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.patience: float = 0
        self.heeded = False
        self._count = 0

    def __call__(self, number: int, frame: FrameType | None = None) -> None:
        """The handler of the signals."""
        self.received = number if self.received is None else self.received
        self._count += 1
        # What is raised there Python only prints, and it goes on.
        dropped = frame is not None and frame.f_code.co_name in _DROPPING
        if self._count > self.patience and not dropped:
            self.patience = math.inf if self.patience else 0
            raise Interruption(number)


@contextmanager
def watching() -> Iterator[Watch]:
    """Within the block, signals that ask for the end are noted; within another such block, by the
    outer one's watch.

    Only in the main thread, where Python handles signals, and only those that the program leaves to
    Python or to the system: Ctrl-C (SIGINT) that would raise KeyboardInterrupt, and SIGTERM and
    SIGHUP that would kill it. Those two are left alone in the children of ``multiprocessing``,
    whose parents count on it that they die. The handlers from before come back at the end of the
    block; a signal that nobody has heeded by then is sent once more.

    Raises:
        KeyboardInterrupt: Ctrl-C has ended the block, by an :class:`Interruption`.
        Termination: another signal has.
    """
    outer = getattr(_local, "watch", None)
    if outer is not None:
        yield outer
        return
    watch = _local.watch = Watch()
    before = _handlers()
    try:
        for number in before:
            signal.signal(number, watch)
        yield watch
    except Interruption as stop:
        # A class of its own would end the process otherwise than KeyboardInterrupt does.
        usual = KeyboardInterrupt() if stop.number == signal.SIGINT else Termination(stop.number)
        usual.__dict__.update(stop.__dict__)
        raise usual.with_traceback(stop.__traceback__) from None
    finally:
        watch.patience = math.inf
        for number, handler in before.items():
            if signal.getsignal(number) is watch:
                signal.signal(number, handler)
        _local.watch = None
    if watch.received is not None and not watch.heeded:
        signal.raise_signal(watch.received)


def check() -> None:
    """Raises :class:`Interruption` if a signal has come that this thread watches for."""
    watch: Watch | None = getattr(_local, "watch", None)
    if watch is not None and watch.received is not None:
        watch.patience = math.inf
        raise Interruption(watch.received)


def _handlers() -> dict[int, Any]:
    """The signals to be watched for, and what handles them now."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    usual: dict[str, Any] = {"SIGINT": signal.default_int_handler}
    if multiprocessing.parent_process() is None:
        usual |= {"SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}
    known = {
        getattr(signal, name): handler for name, handler in usual.items() if hasattr(signal, name)
    }
    return {
        number: handler for number, handler in known.items() if signal.getsignal(number) == handler
    }
