"""How XLA compiles our programs for processors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

#: Compiler options with which short programs take a half to three quarters of the time. On two cores with jaxlib 0.10.2 the first
#: ``least_squares`` of two parameters takes 0.55 instead of 1.1 s, and the first steps of a small ``fit`` 1.0 instead of 1.3 s. What
#: takes long runs five in a hundred longer in double precision. Calls of the library YNN keep XLA from compiling small loops into one
#: function.
_QUICK = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_experimental_ynn_fusion_type": ""}

#: Those that this version of XLA does not know: they differ from one to the next.
_unknown: set[str] = set()


def compiled(lowered: Any, quick: bool) -> Callable[..., Any]:
    """The executable of a ``jax.stages.Lowered``; ``quick`` for programs that run for a short time."""
    if not quick or jax.default_backend() != "cpu":
        return lowered.compile()
    while True:
        options = {name: value for name, value in _QUICK.items() if name not in _unknown}
        try:
            return lowered.compile(options)
        except jax.errors.JaxRuntimeError as error:
            unknown = {name for name in options if f"No such compile option: '{name}'" in str(error)}
            if not unknown:
                raise
            _unknown.update(unknown)
