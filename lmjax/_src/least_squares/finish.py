"""How a run ends: what QR of J and second derivatives say of the point where it has stopped.

Three look at it, one after the other. The steps stop by what JᵀJ promises. QR of J, in the same
program, adds the last digits and sees directions that JᵀJ loses in rounding. Newton's method, on
the host, is asked where only second derivatives can tell what the point is.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.least_squares.final_digits import (
    MAX_PARAMETERS,
    MAX_STEPS,
    ROUNDINGS,
    End,
    last_digits,
)
from lmjax._src.least_squares.newton import Minimum
from lmjax._src.least_squares.packed import Packed
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.options import Options
from lmjax._src.levenberg_marquardt.state import State
from lmjax._src.levenberg_marquardt.status import Status, is_success
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.typing import Scalar


def with_last_digits(
    solver: Options,
    objective: ResidualObjective,
    bounds: Bounds | None,
    params: jax.Array,
    state: State,
) -> tuple[jax.Array, State]:
    """The parameters with their last digits, and the state with what QR of J makes of it; as they
    are if the run goes on, or has too many parameters. While tracing.
    """
    if params.size > MAX_PARAMETERS:
        return params, state
    converged, exhausted = is_success(state.status), state.status == Status.DAMPING_EXHAUSTED
    ended, max_steps = converged | exhausted, jnp.where(converged & solver.polish, MAX_STEPS, 0)
    end = last_digits(objective, bounds, params, ended, solver.confirmation, max_steps)
    inside = True if bounds is None else (params > bounds.lower) & (params < bounds.upper)
    return end.params, state._replace(
        cost=jnp.where(ended, end.cost, state.cost),
        num_evaluations=state.num_evaluations + jnp.where(ended, end.evaluations, 0),
        status=confirmed_status(state.status, end),
        singular=ended & end.singular & (state.status != Status.ZERO),
        unmoved=converged & jnp.any((params == state.start) & inside),
    )


def confirmed_status(status: jax.Array, end: End) -> jax.Array:
    """What QR of J makes of the ``status`` with which the steps have stopped: the first case that
    holds.
    """
    exhausted = status == Status.DAMPING_EXHAUSTED
    cases = [
        # A run that goes on, or has broken down, is none to look at.
        (~(is_success(status) | exhausted), status),
        # No damping lowers the cost, and none should: the columns of J are apart, and promise
        # nothing.
        (exhausted & end.confirmed & ~end.singular, int(Status.PRECISION)),
        # None does, and rounding hides whether one could.
        (exhausted & end.dependent, int(Status.ILL_CONDITIONED)),
        (exhausted, status),
        # A zero at which J is singular is one whatever J promises.
        (status == Status.ZERO, status),
        # What a caller's wide gtol calls orthogonal is, where JᵀJ can tell.
        ((status == Status.GRADIENT) & ~end.dependent, status),
        (end.confirmed, status),
    ]
    conditions, statuses = zip(*cases, strict=True)
    return jnp.select(
        conditions, [jnp.asarray(each, jnp.int32) for each in statuses], int(Status.ILL_CONDITIONED)
    ).astype(jnp.int32)


def is_doubtful(status: Scalar, cost: Scalar, singular: Scalar, unmoved: Scalar) -> Scalar:
    """Whether only second derivatives can tell what the point is where a run has stopped: numbers,
    or arrays of them.

    No damping lowers the cost, or J is singular, or a parameter is where it started, as at a saddle
    by which a function of its square has no slope.
    """
    stuck = (status == Status.DAMPING_EXHAUSTED) | (status == Status.ILL_CONDITIONED)
    return stuck | (singular != 0) | ((unmoved != 0) & (cost > 0))


def is_level(cost: Scalar, before: Scalar) -> bool:
    """Whether nothing has lowered the cost by more than its rounding since it was ``before``."""
    return bool(cost >= before * (1 - ROUNDINGS * np.finfo(np.asarray(cost).dtype).eps))


def settled_status(status: int, singular: bool, minimum: Minimum) -> int | None:
    """What second derivatives make of a ``status``; None where they leave the run as it is."""
    if is_success(status) and not singular and not minimum.saddle:
        return None  # its last digits are good
    if minimum.found:
        return int(Status.PRECISION)
    if minimum.left:
        return int(Status.RUNNING)  # from beside the saddle, with a lower cost
    return int(Status.SADDLE) if minimum.saddle else status


def with_minimum(packed: Packed, minimum: Minimum, status: int) -> Packed:
    """The state at the point to which Newton's method has come, with the status that goes with
    it.
    """
    counts = packed.read_counts()
    evaluations = counts.num_evaluations + int(minimum.evaluations)
    return packed.replaced(
        packed.read_numbers()._replace(cost=minimum.cost),
        counts._replace(num_evaluations=evaluations, status=status),
    )
