"""What is carried from step to step."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.damping import DampingState
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.typing import Array, DType, PyTree, Scalar


class Memory(NamedTuple):
    """What non-monotonic acceptance remembers.

    A step is accepted if it lowers the highest of the costs at the last few points, so that a run
    may cross a ridge, or follow a curved valley in long steps, where every single step would have
    to be short. A run that would stop above the best point that it has seen goes back there and on
    without such licence; so what it says of its last point is true of the best one. Source: L.
    Grippo, F. Lampariello, S. Lucidi, "A nonmonotone line search technique for Newton's method",
    SIAM J. Numer. Anal. 23 (1986); for trust regions Ph. L. Toint, Math. Prog. 77 (1997).
    """

    costs: jax.Array  #: at the last points, the newest first; -inf where there was none yet
    best: jax.Array  #: the parameters of the lowest cost, (P,)
    best_cost: jax.Array
    licence: jax.Array  #: whether the cost may still rise

    @classmethod
    def empty(cls, params: jax.Array, length: int) -> Memory:
        """Before the first step, of the costs at ``length`` points; NumPy arrays, as in
        :func:`initial_state`.
        """
        dtype = params.dtype
        arrays: dict[str, Array] = {
            "costs": np.full(length, -np.inf, dtype),
            "best": np.zeros(params.shape, dtype),
            "best_cost": np.asarray(np.inf, dtype),
            "licence": np.asarray(True),
        }
        return cls(**arrays)

    def at(self, params: jax.Array, cost: jax.Array) -> Memory:
        """With a new point."""
        better = cost < self.best_cost
        costs = jnp.concatenate([jnp.reshape(cost, 1), self.costs[:-1]])
        return Memory(
            costs,
            jnp.where(better, params, self.best),
            jnp.where(better, cost, self.best_cost),
            self.licence,
        )

    def allowance(self, cost: jax.Array) -> jax.Array:
        """By how much the cost may rise."""
        return jnp.where(self.licence, jnp.maximum(jnp.max(self.costs) - cost, 0), 0)


class StepNumbers(NamedTuple):
    """What is told of one step; scalars."""

    damping: jax.Array  #: λ after it; of a rule with a radius, that
    gradient_norm: jax.Array  #: ‖gradient‖ before it
    gain_ratio: jax.Array  #: of the last trial; 0 where there was none
    attempts: jax.Array  #: points at which the cost was computed, int32
    step_norm: jax.Array  #: ‖step‖, 0 where none was accepted

    @classmethod
    def zeros(cls, dtype: DType) -> StepNumbers:
        """Before the first step; NumPy arrays, as in :func:`initial_state`."""
        zero: Scalar = np.zeros((), dtype)
        none: Scalar = np.zeros((), np.int32)
        return cls(zero, zero, zero, none, zero)


class State(NamedTuple):
    """What is carried from step to step beside the parameters; scalars where nothing else is
    said.
    """

    damping: DampingState
    scaling: jax.Array  #: D, (P,), or one number for each array of the parameters
    #: of the parameters over the last few steps, of the same shape; zero where they have a unit in
    #: common
    sizes: jax.Array
    cost: jax.Array  #: at the parameters returned with this state
    num_steps: jax.Array  #: accepted steps
    num_evaluations: jax.Array  #: evaluations of the cost: one a linearization, one a trial
    #: √(gᵀ diag(JᵀJ)⁻¹ g) at the linearization before the last accepted step, where it is an
    #: operator
    gradient_norm: jax.Array
    #: dampings that were tried, and rejected, at the parameters returned with this state
    attempts: jax.Array
    status: jax.Array  #: a Status code
    #: :func:`~lmjax._src.arrays.vectors.lengths` of the parameters before the first step
    start: jax.Array
    start_cost: jax.Array  #: the cost there
    #: whether normal equations lost most digits of the last undamped step that was asked for
    ill_conditioned: jax.Array
    #: whether all λ from that of the last step on were tried here in vain, and now those from the
    #: least on are
    lowered: jax.Array
    #: whether columns of J were found to depend on each other, at the end of a least-squares run
    singular: jax.Array
    unmoved: jax.Array  #: whether a parameter that may move is where it started, there
    memory: Memory | None = None  #: of non-monotonic acceptance
    #: what the objective's ``evaluate`` gave at those parameters, where its ``linearize_known`` is
    #: to take it up
    known: PyTree = None
    latest: StepNumbers | None = None  #: of the last step, where somebody wants them


def initial_state(params: Vector, non_monotonic: int = 0) -> State:
    """The state before the first step; damping and scaling are set from the first linearization.

    ``non_monotonic`` is the number of points whose costs a step may lower instead of the last one.

    NumPy arrays, since JAX would compile a program for each kind of them.
    """
    dtype = vectors.dtype(params)
    zero: Scalar = np.zeros((), dtype)
    count: Scalar = np.zeros((), np.int32)
    running: Scalar = np.asarray(int(Status.RUNNING), np.int32)
    no: Scalar = np.asarray(False)
    diagonal: Array = np.zeros(vectors.diagonal_shape(params), dtype)
    infinite: Scalar = np.asarray(np.inf, dtype)
    memory = Memory.empty(params, non_monotonic) if non_monotonic else None
    return State(
        damping=DampingState(zero, zero),
        scaling=diagonal,
        sizes=diagonal,
        cost=infinite,
        num_steps=count,
        num_evaluations=count,
        gradient_norm=zero,
        attempts=count,
        status=running,
        start=diagonal,
        start_cost=infinite,
        ill_conditioned=no,
        lowered=no,
        singular=no,
        unmoved=no,
        memory=memory,
    )
