"""Fits with some of the parameters held, many in one batch."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.least_squares.finish import with_last_digits
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt, run_until
from lmjax._src.levenberg_marquardt.state import initial_state
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime import interrupts
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.typing import Array, NumpyArray

#: Bytes that the Jacobians of the fits in one call may take together.
_BYTES = 2**27


class Fits(NamedTuple):
    """The ends of k fits."""

    params: Array  #: (k, P)
    rise: Array  #: the cost above that of the solution, (k,); negative where it is lower
    status: Array  #: codes of why each has stopped, RUNNING at the limit on steps, (k,)


def fits_at_once(objective: ResidualObjective, flat: Array, wanted: int) -> int:
    """How many of the ``wanted`` fits may run together."""
    with jax.ensure_compile_time_eval():
        rows = objective.num_residuals(jnp.asarray(flat))
    return int(min(wanted, max(1, _BYTES // (rows * flat.size * flat.dtype.itemsize))))


def held_fits(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: Array,
    held: NumpyArray,
    starts: NumpyArray,
) -> Fits:
    """The minima of the cost over the parameters that are not held, all k of them in one batch.

    Args:
        solver: the options.
        objective: the residuals.
        bounds: where the parameters may lie, also the held ones.
        flat: the solution, (P,).
        held: which parameters keep the value that they have in ``starts``, (k, P).
        starts: a few starts of each fit, (k, s, P), alike in what is held; the one of least cost is
            taken.

    Returns:
        Their ends, NumPy arrays. A fit none of whose starts has a finite cost has no finite rise.
    """
    size = fits_at_once(objective, flat, len(held))
    parts = []
    for first in range(0, len(held), size):
        interrupts.check()
        # The last call has as many fits as the others, so that it is no program of its own.
        rows = np.minimum(np.arange(first, first + size), len(held) - 1)
        part = _held_fits(solver, objective, bounds, flat, held[rows], starts[rows])
        parts.append(jax.tree.map(np.asarray, part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(held)], *parts)


@recent(static_argnums=(0,), effort=Effort.QUICK)
def _held_fits(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: jax.Array,
    held: jax.Array,
    starts: jax.Array,
) -> Fits:
    flat = jnp.asarray(flat)
    solver = solver.resolved(objective, flat)
    values = objective.evaluate(flat)
    lower, upper = (-jnp.inf, jnp.inf) if bounds is None else bounds

    def cost(params: jax.Array) -> jax.Array:
        found = objective.cost(objective.evaluate(params))
        return jnp.where(jnp.isfinite(found), found, jnp.inf)

    def fit(held: jax.Array, starts: jax.Array) -> Fits:
        starts = jnp.where(held, starts, jnp.clip(starts, lower, upper))
        start = starts[jnp.argmin(jax.vmap(cost)(starts))]
        limits = Bounds(jnp.where(held, start, lower), jnp.where(held, start, upper))
        state = initial_state(start, solver.non_monotonic)
        params, state = run_until(
            solver, objective, limits, start, state, jnp.asarray(solver.max_steps)
        )
        params, state = with_last_digits(solver, objective, limits, params, state)
        rise = objective.reduction(objective.evaluate(params), values)
        return Fits(params, rise, state.status)

    return jax.vmap(fit)(jnp.asarray(held), jnp.asarray(starts))
