"""How XLA compiles our programs for processors: short ones in little time, and small ones into one function."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import jax
from jax.experimental.xla_metadata import set_xla_metadata

#: Compiler options with which short programs take a half to three quarters of the time. On two cores with jaxlib 0.10.2 the first
#: ``least_squares`` of two parameters takes 0.55 instead of 1.1 s, and the first steps of a small ``fit`` 1.0 instead of 1.3 s. What
#: takes long runs five in a hundred longer in double precision. Calls of the library YNN keep loops from becoming one function.
_QUICK = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_experimental_ynn_fusion_type": ""}

#: Those that this version of XLA does not know: they differ from one to the next.
_unknown: set[str] = set()

#: XLA's own mark of what is to be compiled into one function. There an operation costs some ten nanoseconds, and else half a
#: microsecond, since each is a task by itself. XLA marks loops that touch less than a kilobyte (jaxlib 0.10) or more (0.12).
_ONE_FUNCTION = {"xla_cpu_small_call": "true", "inlineable": "false"}

#: What cannot be compiled so, and how long a program may be in characters: at 240 000 (5 parameters) compilation takes as long as
#: without, at 300 000 twice as long.
_TASKS = ("custom_call", "stablehlo.sort", "stablehlo.fft", "stablehlo.scatter", "stablehlo.rng", "top_k")
_LONGEST = 260_000

_marking = ContextVar("marking", default=False)

Result = TypeVar("Result")


def as_one_function(function: Callable[..., Result], *args: Any) -> Result:
    """``function(*args)``, arrays of a few thousand numbers at the most, as one function of a program that :func:`compiled` compiles."""
    if not _marking.get():
        return function(*args)
    with set_xla_metadata(**_ONE_FUNCTION):
        return jax.jit(function)(*args)


def compiled(lower: Callable[[], Any], quick: bool) -> Callable[..., Any]:
    """The executable of what ``lower`` gives, a ``jax.stages.Lowered``; ``quick`` for programs that run for a short time."""
    if not quick or jax.default_backend() != "cpu":
        return lower().compile()
    token = _marking.set(True)
    try:
        marked = lower()
    finally:
        _marking.reset(token)
    text = marked.as_text()
    if "xla_cpu_small_call" not in text:
        return _compiled(marked)
    if len(text) <= _LONGEST and not any(task in text for task in _TASKS):
        try:
            return _compiled(marked)
        except jax.errors.JaxRuntimeError:  # something else that has to be a task
            pass
    return _compiled(lower())


def _compiled(lowered: Any) -> Callable[..., Any]:
    while True:
        options = {name: value for name, value in _QUICK.items() if name not in _unknown}
        try:
            return lowered.compile(options)
        except jax.errors.JaxRuntimeError as error:
            unknown = {name for name in options if f"No such compile option: '{name}'" in str(error)}
            if not unknown:
                raise
            _unknown.update(unknown)
