"""One thread for the library that factorises small matrices on a CPU.

jaxlib's LAPACK is SciPy's, most often OpenBLAS, whose threads wait for one another in busy loops.
Where others want the cores, or a quota is on them, each wait lasts until the waiting thread has
lost its turn: on two busy cores a fit of 150 parameters took 4 to 7 s with two threads and 0.1 s
with one. Large matrices gain from threads more than they lose.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
from jax.extend.core import Jaxpr
from threadpoolctl import OpenBLASController, ThreadpoolController

from lmjax._src.runtime.jaxpr_costs import largest_factorisation

#: Multiplications of a factorisation between which it is taken in one thread: below, OpenBLAS takes
#: one by itself (it begins with 64 to 96 rows); above, that of 512 rows, it takes milliseconds in
#: one thread.
_LEAST, _MOST = 50**3, 512**3


def wants_one_thread(jaxpr: Jaxpr) -> bool:
    """Whether the largest factorisation in a program is small, yet large enough for threads."""
    return jax.default_backend() == "cpu" and _LEAST <= largest_factorisation(jaxpr) <= _MOST


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which BLAS and LAPACK take one thread, in all threads of the process; what was
    set before is restored after the last.
    """
    _begin()
    try:
        yield
    finally:
        _end()


_lock = threading.Lock()
_inside = 0
_before: list[tuple[Any, int]] = []


@functools.cache
def _libraries() -> list[Any]:
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _begin() -> None:
    global _inside
    with _lock:
        if _inside == 0:
            _before[:] = [(library, library.get_num_threads()) for library in _libraries()]
            _set([(library, 1) for library, _ in _before])
        _inside += 1


def _end() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            _set(_before)


def _set(numbers: list[tuple[Any, int]]) -> None:
    for library, threads in numbers:
        library.set_num_threads(threads)
    # Else only the thread that has set it first could set it once more.
    OpenBLASController.clear_controlling_thread()
