"""Which precision and which of JAX's other switches a computation runs with, without touching JAX's
global configuration.

JAX rounds float64 to float32 unless ``jax_enable_x64`` is on. Here the precision is decided by the
data, and the switch is set for the length of one call only, in the calling thread only. So are the
switches by which callers have JAX refuse what their own code does not mean to do: mixed dtypes,
mixed ranks, transfers that nobody asked for. For as long the axes of a mesh that the caller has put
in force are automatic ones (see :mod:`lmjax._src.runtime.meshes`).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import AbstractMesh, get_abstract_mesh, use_abstract_mesh
from jax.typing import DTypeLike

from lmjax._src.runtime.meshes import automatic_axes
from lmjax._src.typing import DType, PyTree

_DOUBLE = frozenset({np.dtype(np.float64), np.dtype(np.complex128)})
#: Whose options are attributes that its type does not have.
_config: Any = jax.config

#: The switches beside ``jax_enable_x64``, what they are within a scope, and what sets them for a
#: while.
_SWITCHES: dict[str, tuple[Any, Callable[[Any], AbstractContextManager[object]]]] = {
    "jax_numpy_dtype_promotion": ("standard", jax.numpy_dtype_promotion),
    "jax_numpy_rank_promotion": ("allow", jax.numpy_rank_promotion),
    "jax_transfer_guard_host_to_device": ("allow", jax.transfer_guard_host_to_device),
    "jax_transfer_guard_device_to_device": ("allow", jax.transfer_guard_device_to_device),
    "jax_transfer_guard_device_to_host": ("allow", jax.transfer_guard_device_to_host),
}
_USUAL = tuple(wanted for wanted, _ in _SWITCHES.values())
_read_switches = operator.attrgetter(*_SWITCHES)


class _Mode(NamedTuple):
    """What a scope switches."""

    double: bool
    switches: tuple[Any, ...]
    mesh: AbstractMesh


#: The mode in which the caller of a scope was; None outside of all scopes.
_CALLERS: ContextVar[_Mode | None] = ContextVar("callers", default=None)
_END: Any = object()

Item = TypeVar("Item")


def is_double(dtype: DTypeLike) -> bool:
    """Whether ``dtype`` needs JAX's 64-bit mode."""
    return np.dtype(dtype) in _DOUBLE


def scope(dtype: DTypeLike) -> AbstractContextManager[object]:
    """A context in which JAX computes in ``dtype``: 64-bit mode on for float64, off for float32,
    and as it usually does else.

    What was in force before is restored on leaving, whatever happens inside.
    """
    return _switched(
        is_double(dtype), _USUAL, automatic_axes(), callers=_CALLERS.get() or _present()
    )


def usual() -> AbstractContextManager[object]:
    """A context in the caller's precision in which JAX does else what it usually does: for
    computations that are being traced.
    """
    present = _present()
    return _switched(present.double, _USUAL, nullcontext(), callers=_CALLERS.get() or present)


def outside() -> AbstractContextManager[object]:
    """Within a scope, a context in the mode of who called it: for a caller's own code (callbacks,
    sources of data).
    """
    callers = _CALLERS.get()
    if callers is None:
        return nullcontext()
    return _switched(
        callers.double, callers.switches, use_abstract_mesh(callers.mesh), callers=None
    )


def highest() -> AbstractContextManager[object]:
    """A context for tracing in which products, those of a caller's function too, are of full
    precision, unless the caller chose another.

    Accelerators round the factors otherwise, in TF32 to 10 bits, so that derivatives have three
    digits.
    """
    return (
        nullcontext()
        if _config.jax_default_matmul_precision is not None
        else jax.default_matmul_precision("highest")
    )


def _present() -> _Mode:
    return _Mode(bool(_config.jax_enable_x64), _read_switches(_config), get_abstract_mesh())


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
def _switched(
    double: bool,
    switches: tuple[Any, ...],
    mesh: AbstractContextManager[object],
    callers: _Mode | None,
) -> Iterator[None]:
    token = _CALLERS.set(callers)
    try:
        with ExitStack() as stack:
            stack.enter_context(mesh)
            present = _present()
            if double != present.double:
                stack.enter_context(jax.enable_x64(double))
            for wanted, found, (_, switch) in zip(
                switches, present.switches, _SWITCHES.values(), strict=True
            ):
                if wanted != found and not (wanted == "allow" and found is None):
                    stack.enter_context(switch(wanted))
            yield
    finally:
        _CALLERS.reset(token)


def kept(dtype: DTypeLike) -> AbstractContextManager[object]:
    """Around operations on arrays of ``dtype``, in a trace of a fit in single precision too, a
    context in which JAX leaves them as wide.

    Not around a caller's own functions, in which it would widen other numbers.
    """
    return (
        jax.enable_x64(True)
        if is_double(dtype) and not jax.config.read("jax_enable_x64")
        else nullcontext()
    )


def is_rounded_by_jax(dtype: DTypeLike) -> bool:
    """Whether a JAX array of ``dtype`` would be rounded by the next JAX operation of a caller
    outside our scopes.
    """
    return is_double(dtype) and not jax.config.read("jax_enable_x64")


def in_present_mode(dtype: DTypeLike) -> DType:
    """What JAX makes of ``dtype`` in the mode in which it is; asked for more, it warns."""
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def is_traced(tree: PyTree) -> bool:
    """Whether any leaf of ``tree`` is being traced by a JAX transformation; then the caller's mode
    must stay.
    """
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


#: Words in the names of GPUs whose float64 runs at half their float32 rate; others run it at 1/32
#: or 1/64. Source: the vendors' data sheets; B200 and GB200 have 40 of 80 TFLOP/s, A30 5.2 of 10.3,
#: but B300 1.3 of 77, and the RTX A3000 is another card.
_DOUBLE_PRECISION_GPUS = re.compile(
    r"\b(P100|V100|A30|A100|H100|H200|GH200|B200|GB200|MI[23]\d\d\w*)\b"
)


def preferred_dtype() -> str:
    """The name of the dtype to fit in: float64 where the default device does it at a fair rate,
    else float32.

    That is on processors and data-centre GPUs.
    """
    device = jax.devices()[0]
    if device.platform == "cpu" or (
        device.platform in ("gpu", "cuda", "rocm")
        and _DOUBLE_PRECISION_GPUS.search(device.device_kind)
    ):
        return "float64"
    return "float32"
