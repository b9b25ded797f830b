"""How XLA compiles our programs for processors."""

from __future__ import annotations

import enum
from typing import Any

import jax
from jax.stages import Lowered

from lmjax._src.runtime import faults
from lmjax._src.typing import TreeFn


class Effort(enum.Enum):
    """How much time compiling a program is worth."""

    FULL = "full"  #: as ``jax.jit`` does it but for known faults, for programs that run long
    QUICK = "quick"  #: for those that run often, each time for a short time
    #: for those where even the compiler's passes count, and whose time goes to large arrays
    LEAST = "least"


#: Compiler options. With the quick ones short programs take a half to three quarters of the time:
#: on two cores with jaxlib 0.10.2 the first ``least_squares`` of two parameters 0.55 instead of 1.1
#: s. What takes long runs five in a hundred longer in double precision. Calls of the library YNN
#: keep XLA from compiling small loops into one function. With LLVM's first level the first 60 steps
#: of ``lmjax.fit`` on sinc(10x) in a new process take 1.28 instead of 1.75 s (float32) and 1.21
#: instead of 1.45 s (float64), and a step as long as without, to two in a hundred; at level 0 it
#: takes five times as long.
_QUICK = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_experimental_ynn_fusion_type": ""}
#: What keeps a version of :data:`lmjax._src.runtime.faults.WORKED_AROUND` right.
_RIGHT = {"xla_cpu_use_fusion_emitters": False}
_OPTIONS: dict[Effort, dict[str, Any]] = {
    Effort.QUICK: _QUICK,
    Effort.LEAST: {**_QUICK, "xla_backend_optimization_level": 1},
}

#: Those that this version of XLA does not know: they differ from one to the next.
_unknown: set[str] = set()


def compiled(lowered: Lowered, effort: Effort) -> TreeFn:
    """The executable of a ``jax.stages.Lowered``."""
    wanted = (
        _RIGHT
        if effort is Effort.FULL and faults.concatenates_wrongly()
        else _OPTIONS.get(effort, {})
    )
    if not wanted or jax.default_backend() != "cpu":
        return lowered.compile()
    while True:
        options = {name: value for name, value in wanted.items() if name not in _unknown}
        try:
            return lowered.compile(options)
        except jax.errors.JaxRuntimeError as error:
            unknown = {
                name for name in options if f"No such compile option: '{name}'" in str(error)
            }
            if not unknown:
                raise
            _unknown.update(unknown)
