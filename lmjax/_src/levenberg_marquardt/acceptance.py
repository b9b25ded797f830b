"""Which trial steps are accepted: those that lower the cost, or, on request, those that lower the
highest of the last few.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lmjax._src.levenberg_marquardt.state import State
from lmjax._src.levenberg_marquardt.status import Status


def go_back(params: jax.Array, state: State) -> tuple[jax.Array, State]:
    """The best point, and the run going on from there, if it has stopped elsewhere above it."""
    memory = state.memory
    if memory is None:
        return params, state
    back = (state.status != Status.RUNNING) & memory.licence & (memory.best_cost < state.cost)
    resumed = state._replace(
        cost=memory.best_cost,
        attempts=jnp.zeros_like(state.attempts),
        lowered=jnp.zeros_like(state.lowered),
        status=jnp.full_like(state.status, int(Status.RUNNING)),
        memory=memory._replace(licence=jnp.asarray(False)),
    )
    return jnp.where(back, memory.best, params), jax.tree.map(
        lambda new, old: jnp.where(back, new, old), resumed, state
    )


def best_seen(params: jax.Array, state: State) -> tuple[jax.Array, State]:
    """The best point, if the run was cut short."""
    if state.memory is None:
        return params, state
    lower = (state.status == Status.RUNNING) & (state.memory.best_cost < state.cost)
    cost = jnp.where(lower, state.memory.best_cost, state.cost)
    return jnp.where(lower, state.memory.best, params), state._replace(cost=cost)
