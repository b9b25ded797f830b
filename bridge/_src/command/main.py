"""The entry point ``lmjax``: from its first import on, Ctrl-C ends in one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_INTERRUPTED = 128 + signal.SIGINT  # as shells have it

#: An environment variable that has to be there before JAX is loaded. Some versions of it report of
#: every program from the cache, at length, that a processor lacks what is no feature of processors
#: ("prefer-no-gather"). What really goes wrong is raised.
LOG_LEVEL = ("TF_CPP_MIN_LOG_LEVEL", "3")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``lmjax`` with ``arguments`` and returns the exit code.

    Without ``arguments`` it takes those of the process, which is then the command's own: compiled
    programs are kept for the next run.
    """
    if arguments is None:
        os.environ.setdefault(*LOG_LEVEL)
    try:
        with _undisturbed():
            # And with it JAX; nothing of that at the top, where Ctrl-C would end in a traceback.
            from bridge._src.command import (
                running,
            )

            parser = running.make_parser()
        return running.run(parser, arguments)
    except KeyboardInterrupt:
        print("lmjax: interrupted; nothing was written", file=sys.stderr)
        return _INTERRUPTED


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Has Ctrl-C wait for the end of the block: extension modules crash when it comes while they
    are imported.
    """
    before = signal.getsignal(signal.SIGINT)
    if (
        before is not signal.default_int_handler
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
