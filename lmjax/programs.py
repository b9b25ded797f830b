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

#: How many programs of each function are kept, those that were used last.
KEPT = 48

Result = TypeVar("Result")


class Recent(Generic[Result]):
    """``jax.jit`` of a function, with only the :data:`KEPT` programs that were used last."""

    def __init__(self, function: Callable[..., Result], static_argnums: tuple[int, ...], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._static: frozenset[int | str] = frozenset((*static_argnums, *options.get("static_argnames", ())))

        @functools.lru_cache(maxsize=KEPT)
        def compiled(kind: Any) -> Callable[..., Result]:
            del kind

            @functools.wraps(function)  # a function of its own, since ``jit`` shares the programs of one
            def own(*args: Any, **kwargs: Any) -> Result:
                return function(*args, **kwargs)

            return jax.jit(own, static_argnums=static_argnums, **options)

        self._compiled = compiled

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        """The function's result."""
        static: list[Any] = []
        data: list[Any] = []
        for key, value in itertools.chain(enumerate(args), kwargs.items()):
            (static if key in self._static else data).append(value)
        leaves, treedef = jax.tree.flatten(data)
        kind = *static, *kwargs, treedef, *((getattr(leaf, "shape", ()), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
        return self._compiled(kind)(*args, **kwargs)


def recent(static_argnums: tuple[int, ...] = (), **options: Any) -> Callable[[Callable[..., Result]], Recent[Result]]:
    """A decorator that makes :class:`Recent` of a function; the arguments are those of ``jax.jit``, names and numbers in tuples."""
    return lambda function: Recent(function, static_argnums, options)
