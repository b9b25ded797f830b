"""Compiled functions that keep a bounded number of programs.

``jax.jit`` keeps every program for as long as the process lives. On a CPU one takes some hundred memory mappings, of which
Linux allows a process 65 530: the 265th ``least_squares`` of a new lambda would end the process.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
import jax.extend.core

#: The first JAX version whose XLA has one way of compiling for processors only, the quick one.
_ONE_WAY = (0, 11)

#: How many programs of each function are kept, those that were used last.
KEPT = 48

Result = TypeVar("Result")


class Recent(Generic[Result]):
    """``jax.jit`` of a function, with only the :data:`KEPT` programs that were used last."""

    def __init__(self, function: Callable[..., Result], static_argnums: tuple[int, ...], options: dict[str, Any], quick: bool) -> None:
        functools.update_wrapper(self, function)
        self._static: frozenset[int | str] = frozenset((*static_argnums, *options.get("static_argnames", ())))

        @functools.lru_cache(maxsize=KEPT)
        def compiled(kind: Any, compiler_options: tuple[tuple[str, Any], ...]) -> Callable[..., Result]:
            del kind

            @functools.wraps(function)  # a function of its own, since ``jit`` shares the programs of one
            def own(*args: Any, **kwargs: Any) -> Result:
                return function(*args, **kwargs)

            return jax.jit(own, static_argnums=static_argnums, compiler_options=dict(compiler_options) or None, **options)

        self._compiled, self._quick = compiled, quick

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        """The function's result."""
        static: list[Any] = []
        data: list[Any] = []
        for key, value in itertools.chain(enumerate(args), kwargs.items()):
            (static if key in self._static else data).append(value)
        leaves, treedef = jax.tree.flatten(data)
        kind = *static, *kwargs, treedef, *((getattr(leaf, "shape", ()), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
        return self._compiled(kind, tuple(_quick().items()) if self._quick else ())(*args, **kwargs)


def _quick() -> dict[str, Any]:
    """Compiler options with which XLA takes a half to three quarters of the time for programs for processors.

    On two cores with jaxlib 0.10.2 the first ``least_squares`` of two parameters takes 0.55 instead of 1.1 s, and the first steps
    of a small ``fit`` 1.0 instead of 1.3 s. What takes long runs five in a hundred longer in double precision, so this is for
    programs whose steps take a few milliseconds.
    """
    if jax.__version_info__ >= _ONE_WAY or not _outside_of_transformations() or jax.default_backend() != "cpu":
        return {}
    return {"xla_cpu_use_fusion_emitters": False}


def _outside_of_transformations() -> bool:
    """Whether JAX takes compiler options here; also False where its version does not let us know."""
    find: Any = getattr(jax.extend.core, "find_top_trace", None)
    return find is not None and type(find(())).__name__ == "EvalTrace"


def recent(static_argnums: tuple[int, ...] = (), quick: bool = False, **options: Any) -> Callable[[Callable[..., Result]], Recent[Result]]:
    """A decorator that makes :class:`Recent` of a function; the arguments are those of ``jax.jit``, names and numbers in tuples.

    With ``quick`` its programs are compiled in less time; for those that run for a short time.
    """
    return lambda function: Recent(function, static_argnums, options, quick)
