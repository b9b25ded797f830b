"""Whether JAX compiles anything while a clock runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import jax.monitoring

Result = TypeVar("Result")

#: JAX' event for a program that is compiled, or read from a cache on disk.
_COMPILED = "/jax/core/compile/backend_compile_duration"
#: Runs until one compiles nothing. A fit has up to three stages, each with a program of its own.
_MOST_RUNS = 4


#: The programs of this process since :func:`_listen`.
_PROGRAMS: list[str] = []


@functools.cache
def _listen() -> None:
    """Begins to count, once: JAX 0.8 takes no listener back."""

    def note(event: str, duration_secs: float, **more: str | int) -> None:
        del duration_secs, more
        if event == _COMPILED:
            _PROGRAMS.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)


def until_warm(run: Callable[[], Result]) -> tuple[Result, bool]:
    """The result of the first ``run()`` in which nothing is compiled, and whether there was one;
    the last one's where there was none.
    """
    _listen()
    for _ in range(_MOST_RUNS):
        before = len(_PROGRAMS)
        result = run()
        if len(_PROGRAMS) == before:
            return result, True
    return result, False
