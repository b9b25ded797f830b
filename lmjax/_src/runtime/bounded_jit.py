"""Compiled functions that keep a bounded number of programs.

``jax.jit`` keeps every program for as long as the process lives. On a CPU one takes some hundred
memory mappings, of which Linux allows a process 65 530: the 265th ``least_squares`` of a new lambda
would end the process.
"""

from __future__ import annotations

import functools
import itertools
import operator
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar, cast

import jax
import jax.extend.core

from lmjax._src.runtime import blas, faults, precision
from lmjax._src.runtime.compilation import Effort, compiled
from lmjax._src.runtime.jaxpr_costs import calls_python
from lmjax._src.typing import PyTree

#: How many programs of each function are kept, those that were used last.
KEPT = 48

#: Whose options are attributes that its type does not have.
_config: Any = jax.config

Result = TypeVar("Result")


class Recent(Generic[Result]):
    """``jax.jit`` of a function, with only the :data:`KEPT` programs that were used last.

    What is kept are the executables. ``jax.jit`` keeps what it traced as well, and with it NumPy
    arrays that the function captured, rounded to the mode of the trace; JAX to 0.12 at least hands
    these to later traces in the other mode, so that after a fit in float32 one of the same function
    in float64 would fail.
    """

    def __init__(
        self,
        function: Callable[..., Result],
        static_argnums: tuple[int, ...],
        options: dict[str, Any],
        effort: Effort,
    ) -> None:
        functools.update_wrapper(self, function)
        self._static: frozenset[int | str] = frozenset(
            (*static_argnums, *options.get("static_argnames", ()))
        )
        self._function, self._effort = function, effort
        self._options = {"static_argnums": static_argnums, **options}
        self._programs: dict[Any, _Program[Result]] = {}
        self._lock = threading.Lock()
        _ALL.add(self)

    def __call__(self, *args: PyTree, **kwargs: Any) -> Result:
        """The function's result."""
        positional = [arg for key, arg in enumerate(args) if key not in self._static]
        named = {key: arg for key, arg in kwargs.items() if key not in self._static}
        static = (
            *(arg for key, arg in enumerate(args) if key in self._static),
            *(item for item in kwargs.items() if item[0] in self._static),
        )
        leaves, treedef = jax.tree.flatten((positional, named))
        outside, usual = outside_of_transformations(), _default_device()
        kind = (
            outside,
            usual,
            jax.sharding.get_abstract_mesh(),
            *_mode(_config),
            static,
            treedef,
            *(_kind_of(leaf, usual) for leaf in leaves),
        )
        if outside and not _config.jax_disable_jit:
            program = self._programs.get(kind)
            if program is None:
                program = self._kept(kind, self._compiled(*args, **kwargs))
            program.used = next(_now)
            return program.call(*positional, **named)
        kind = (_config.jax_disable_jit, *kind)
        program = self._programs.get(kind)
        if program is None:
            program = self._kept(kind, self._jitted())
        program.used = next(_now)
        with precision.highest():
            return program.call(*args, **kwargs)

    def _jitted(self) -> Any:
        faults.warn_once()
        # An object of its own, since ``jit`` shares the programs of one function.
        own = functools.update_wrapper(functools.partial(self._function), self._function)
        return jax.jit(own, **self._options)

    def _compiled(self, *args: PyTree, **kwargs: Any) -> Callable[..., Result]:
        with precision.highest():
            traced = self._jitted().trace(*args, **kwargs)
        if _config.jax_enable_x64 and calls_python(traced.jaxpr.jaxpr) and not _double_elsewhere():
            raise ValueError(
                "a function calls back into Python (jax.pure_callback), where JAX rounds "
                "float64 to float32 unless its 64-bit mode is "
                'on in every thread: call jax.config.update("jax_enable_x64", True) '
                "first, or pass float32 parameters"
            )
        program = compiled(traced.lower(), self._effort)
        return _in_one_thread(program) if blas.wants_one_thread(traced.jaxpr.jaxpr) else program

    def __len__(self) -> int:
        """How many programs are kept."""
        return len(self._programs)

    def forget(self) -> None:
        """Lets go of all programs."""
        with self._lock:
            self._programs.clear()

    def _kept(self, kind: Any, call: Callable[..., Result]) -> _Program[Result]:
        program = _Program(call)
        with self._lock:
            self._programs[kind] = program
            while len(self._programs) > KEPT:
                # In order of their use; a dictionary in that order would have to find the kind of
                # every call, and so its hash, once more.
                oldest = min(self._programs, key=lambda each: self._programs[each].used)
                del self._programs[oldest]
        return program


def _in_one_thread(program: Callable[..., Result]) -> Callable[..., Result]:
    def call(*args: PyTree, **kwargs: Any) -> Result:
        with blas.one_thread():
            return cast("Result", jax.block_until_ready(program(*args, **kwargs)))

    return call


class _Program(Generic[Result]):
    """A program that is kept."""

    def __init__(self, call: Callable[..., Result]) -> None:
        self.call, self.used = call, next(_now)


_now = itertools.count()

_ALL: weakref.WeakSet[Recent[Any]] = weakref.WeakSet()


def forget() -> None:
    """Lets go of all programs of lmjax, as ``jax.clear_caches`` does of those of ``jax.jit``."""
    for function in list(_ALL):
        function.forget()


def _kind_of(leaf: Any, usual: Any) -> Any:
    """What a program is compiled for: NumPy's arrays and JAX's on the ``usual`` device are
    alike.
    """
    if not isinstance(leaf, jax.Array):
        return getattr(leaf, "shape", ()), getattr(leaf, "dtype", type(leaf))
    if isinstance(leaf, jax.core.Tracer):
        return leaf.shape, leaf.dtype
    weak = getattr(leaf, "weak_type", False)  # which keys of random numbers do not have
    elsewhere = None if leaf.devices() == {usual} else leaf.sharding
    return (
        (leaf.shape, leaf.dtype, weak, elsewhere) if weak or elsewhere else (leaf.shape, leaf.dtype)
    )


def _double_elsewhere() -> bool:
    """Whether JAX's 64-bit mode is on in other threads, in which callbacks may run; here it may be
    on for one call only.
    """
    with ThreadPoolExecutor(1) as executor:
        return bool(executor.submit(lambda: _config.jax_enable_x64).result())


def _default_device() -> Any:
    chosen = _config.jax_default_device
    return jax.local_devices()[0] if chosen is None else chosen


#: Reads those of JAX's options that change what a program computes.
_mode = operator.attrgetter(
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_debug_nans",
    "jax_debug_infs",
)


def outside_of_transformations() -> bool:
    """Whether a call here is one of compiled code, not part of a trace; also False where JAX'
    version does not let us know.
    """
    # JAX before 0.10 has it elsewhere.
    home: Any = jax.extend.core if hasattr(jax.extend.core, "find_top_trace") else jax.core
    find = getattr(home, "find_top_trace", None)
    return find is not None and type(find(())).__name__ == "EvalTrace"


def recent(
    static_argnums: tuple[int, ...] = (), effort: Effort = Effort.FULL, **options: Any
) -> Callable[[Callable[..., Result]], Recent[Result]]:
    """A decorator that makes :class:`Recent` of a function; the arguments are those of ``jax.jit``,
    names and numbers in tuples.

    ``effort`` is what compiling its programs is worth.
    """
    return lambda function: Recent(function, static_argnums, options, effort)
