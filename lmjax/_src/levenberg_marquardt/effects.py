"""Which options count where: one that would have no effect is refused where it is given."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

from lmjax._src.levenberg_marquardt.options import Options

_BATCH = {"damping", "scaling", "linear_solver", "jacobian"}
_STEP = _BATCH | {
    "acceleration_limit",
    "acceptance",
    "confirmation",
    "ftol",
    "geodesic_acceleration",
    "gtol",
    "halvings",
    "max_attempts",
    "xtol",
}
_RESIDUALS = _STEP | {"jacobian_chunk", "jacobian_dtype", "non_monotonic"}
_BESIDE = _RESIDUALS | {"max_steps", "polish"}
_RUN = _BESIDE | {"second_run"}

#: The options that count at each door.
COUNTED: Mapping[str, frozenset[str]] = {
    "least_squares": frozenset(_RUN),
    "multi_start": frozenset(_RUN),
    "profile_intervals": frozenset(_BESIDE),
    "bootstrap": frozenset(_BESIDE),
    "contour": frozenset(_BESIDE),
    "a loop of one's own": frozenset(_RESIDUALS),
    "lmjax.optax": frozenset(_RESIDUALS),
    "a fit of a model": frozenset(_STEP | {"curvature_sample"}),
    "a fit in batches": frozenset(_BATCH),
}

#: What to do instead, where there is something.
_INSTEAD = {
    "a fit of a model": {"max_steps": "; epochs= limits the steps"},
    "a fit in batches": {"max_steps": "; epochs= limits the steps"},
    "a loop of one's own": {"max_steps": "; the loop itself ends"},
    "lmjax.optax": {"max_steps": "; the loop itself ends"},
}


def check_solver(solver: object) -> None:
    """Checks what was passed as ``solver``.

    Raises:
        TypeError: it has no options.
    """
    if isinstance(solver, Options):
        return
    if isinstance(solver, type):
        given = f"the class {solver.__name__} itself; call it, {solver.__name__}(), for an instance"
    else:
        given = f"{solver!r}; options are given as lmjax.LevenbergMarquardt(name=value)"
    raise TypeError(f"solver: expected a lmjax.LevenbergMarquardt or None, got {given}")


def check_effect(options: Options, door: str, *defaults: Options) -> None:
    """Refuses options without effect at this ``door``, a key of :data:`COUNTED`.

    Those count as given that differ from the class' defaults and from the ``defaults`` of doors.

    Raises:
        TypeError: as :func:`check_solver`.
        ValueError: naming all of them.
    """
    check_solver(options)
    _check_effect(options, door, *defaults)


@functools.lru_cache(maxsize=64)  # the same options call after call
def _check_effect(options: Options, door: str, *defaults: Options) -> None:
    known = (type(options)(), *defaults)
    idle = [
        field.name
        for field in dataclasses.fields(Options)
        if field.name not in COUNTED[door]
        and all(getattr(options, field.name) != getattr(each, field.name) for each in known)
    ]
    if idle:
        given = ", ".join(f"{name}={getattr(options, name)!r}" for name in idle)
        instead = "".join(_INSTEAD.get(door, {}).get(name, "") for name in idle)
        raise ValueError(
            f"solver: {given} would have no effect in {door}; leave "
            f"{'it' if len(idle) == 1 else 'them'} out{instead}"
        )
