"""Which trial steps are accepted: those that lower the cost, or, on request, those that lower the highest of the last few."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.status import Status

if TYPE_CHECKING:
    from lmjax.iteration import State


class Memory(NamedTuple):
    """What non-monotonic acceptance remembers.

    A step is accepted if it lowers the highest of the costs at the last few points, so that a run may cross a ridge, or
    follow a curved valley in long steps, where every single step would have to be short. A run that would stop above the
    best point that it has seen goes back there and on without such licence; so what it says of its last point is true of the
    best one. Source: L. Grippo, F. Lampariello, S. Lucidi, "A nonmonotone line search technique for Newton's method", SIAM J.
    Numer. Anal. 23 (1986); for trust regions Ph. L. Toint, Math. Prog. 77 (1997).
    """

    costs: jax.Array  #: at the last points, the newest first; -inf where there was none yet
    best: jax.Array  #: the parameters of the lowest cost, (P,)
    best_cost: jax.Array
    licence: jax.Array  #: whether the cost may still rise

    @classmethod
    def empty(cls, params: jax.Array, length: int) -> Memory:
        """Before the first step, of the costs at ``length`` points; NumPy arrays, as in ``iteration.initial_state``."""
        dtype, infinite = params.dtype, np.asarray(np.inf, params.dtype)
        arrays = np.full(length, -np.inf, dtype), np.zeros(params.shape, dtype), infinite, np.asarray(True)
        return cls(*arrays)  # type: ignore[arg-type]

    def at(self, params: jax.Array, cost: jax.Array) -> Memory:
        """With a new point."""
        better = cost < self.best_cost
        costs = jnp.concatenate([jnp.reshape(cost, 1), self.costs[:-1]])
        return Memory(costs, jnp.where(better, params, self.best), jnp.where(better, cost, self.best_cost), self.licence)

    def allowance(self, cost: jax.Array) -> jax.Array:
        """By how much the cost may rise."""
        return jnp.where(self.licence, jnp.maximum(jnp.max(self.costs) - cost, 0), 0)


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
    return jnp.where(back, memory.best, params), jax.tree.map(lambda new, old: jnp.where(back, new, old), resumed, state)


def best_seen(params: jax.Array, state: State) -> tuple[jax.Array, State]:
    """The best point, if the run was cut short."""
    if state.memory is None:
        return params, state
    lower = (state.status == Status.RUNNING) & (state.memory.best_cost < state.cost)
    cost = jnp.where(lower, state.memory.best_cost, state.cost)
    return jnp.where(lower, state.memory.best, params), state._replace(cost=cost)
