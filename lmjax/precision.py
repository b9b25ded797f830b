"""Which precision a computation runs in, without touching JAX's global configuration.

JAX rounds float64 to float32 unless ``jax_enable_x64`` is on. Here the precision is decided by the data, and
the switch is set for the length of one call only, in the calling thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

import jax
import numpy as np
from jax.typing import DTypeLike

_DOUBLE = frozenset({np.dtype(np.float64), np.dtype(np.complex128)})
#: The mode in which the caller of a scope was; None outside of all scopes.
_CALLERS: ContextVar[bool | None] = ContextVar("callers", default=None)
_END: Any = object()

Item = TypeVar("Item")


def is_double(dtype: DTypeLike) -> bool:
    """Whether ``dtype`` needs JAX's 64-bit mode."""
    return np.dtype(dtype) in _DOUBLE


def scope(dtype: DTypeLike) -> AbstractContextManager[Any]:
    """A context in which JAX computes in ``dtype``: 64-bit mode on for float64, off for float32.

    The mode that was in force before is restored on leaving, whatever happens inside.
    """
    before = _CALLERS.get()
    return _switched(is_double(dtype), callers=bool(jax.config.read("jax_enable_x64")) if before is None else before)


def outside() -> AbstractContextManager[Any]:
    """Within a scope, a context in the mode of who called it: for a caller's own code (callbacks, sources of data)."""
    callers = _CALLERS.get()
    return nullcontext() if callers is None else _switched(callers, callers=None)


def taken_outside(items: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """What ``items()`` gives, each made :func:`outside`; what is done with it is not."""
    with outside():
        given = items()
    while True:
        with outside():
            item = next(given, _END)
        if item is _END:
            return
        yield item


@contextmanager
def _switched(wanted: bool, callers: bool | None) -> Iterator[None]:
    token = _CALLERS.set(callers)
    try:
        with nullcontext() if wanted == jax.config.read("jax_enable_x64") else jax.enable_x64(wanted):
            yield
    finally:
        _CALLERS.reset(token)


def is_rounded_by_jax(dtype: DTypeLike) -> bool:
    """Whether a JAX array of ``dtype`` would be rounded by the next JAX operation of a caller outside our scopes."""
    return is_double(dtype) and not jax.config.read("jax_enable_x64")


def is_traced(tree: Any) -> bool:
    """Whether any leaf of ``tree`` is being traced by a JAX transformation; then the caller's mode must stay."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


#: Parts of the names of GPUs whose float64 runs at half their float32 rate; others run it at 1/32 or 1/64.
_DOUBLE_PRECISION_GPUS = ("P100", "V100", "A100", "H100", "H200", "MI2", "MI3")


def preferred_dtype() -> str:
    """The name of the dtype to fit in: float64 where the default device does it at a fair rate, else float32.

    That is on processors and data-centre GPUs.
    """
    device = jax.devices()[0]
    if device.platform == "cpu" or (
        device.platform in ("gpu", "cuda", "rocm") and any(name in device.device_kind for name in _DOUBLE_PRECISION_GPUS)
    ):
        return "float64"
    return "float32"
