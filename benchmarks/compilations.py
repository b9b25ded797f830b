"""Counts what is compiled while a clock runs: a peer that is warm compiles nothing there, ours or a
rival.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: JAX' event for a program that is compiled, or read from a cache on disk.
_COMPILED = "/jax/core/compile/backend_compile_duration"

#: The names of the programs that JAX compiled since :func:`_listen`.
_BY_JAX: list[str] = []


class CompiledOnTheClockError(RuntimeError):
    """A measurement that is none: something was compiled during it."""


@contextmanager
def counted() -> Iterator[list[str]]:
    """A list that holds, when the block is left, the name of each program that was compiled within
    it.

    JAX' programs, TensorFlow's traces of a ``tf.function``, and the frames that ``torch.compile``
    compiled; of the frameworks that are imported by then.
    """
    if "jax" in sys.modules:
        _listen()
    names = list[str]()
    before, graphs, frames = len(_BY_JAX), _tensorflow(), _torch()
    try:
        yield names
    finally:
        if "jax" in sys.modules:
            _listen()
        names += _BY_JAX[before:]
        names += ["a tf.function"] * (_tensorflow() > graphs)
        names += ["torch.compile"] * (_torch() - frames)


@contextmanager
def none_compiled() -> Iterator[None]:
    """A block in which nothing may be compiled.

    Raises:
        CompiledOnTheClockError: something was.
    """
    with counted() as names:
        yield
    if names:
        raise CompiledOnTheClockError(
            f"{len(names)} compiled on the clock: {', '.join(sorted(set(names)))}"
        )


@functools.cache
def _listen() -> None:
    import jax.monitoring

    def note(event: str, seconds: float, **more: Any) -> None:
        del seconds
        if event == _COMPILED:
            _BY_JAX.append(str(more.get("fun_name", "a program")))

    jax.monitoring.register_event_duration_secs_listener(note)


def _tensorflow() -> int:
    """Microseconds that this process spent tracing functions so far; TensorFlow counts no traces
    but each function's own.
    """
    tracing = sys.modules.get("tensorflow.python.eager.polymorphic_function.tracing_compilation")
    return 0 if tracing is None else int(tracing._graph_building_time_counter.get_cell().value())


def _torch() -> int:
    """How many frames ``torch.compile`` took in hand so far; without its module nothing was."""
    utils = sys.modules.get("torch._dynamo.utils")
    return 0 if utils is None else int(utils.counters["frames"]["total"])
