"""The state of a run between two slices, packed for the way out of a compiled program and in."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.damping import DampingRule, DampingState
from lmjax._src.levenberg_marquardt.state import Memory, State
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.runtime import precision
from lmjax._src.typing import Array, Scalar

#: Seconds for which a run is waited for in a loop: a thread that sleeps takes 60 µs to wake, as
#: long as a small fit.
_SPINNING = 3e-4


class Numbers(NamedTuple):
    """The real scalars of a :class:`~lmjax._src.levenberg_marquardt.state.State`."""

    damping: Scalar  #: λ, or a radius
    carried: Scalar  #: what the damping rule carries beside it
    cost: Scalar
    gradient_norm: Scalar
    start_cost: Scalar


class Counts(NamedTuple):
    """The whole numbers and flags of a :class:`~lmjax._src.levenberg_marquardt.state.State`, under
    their names there.
    """

    num_steps: Scalar
    num_evaluations: Scalar
    attempts: Scalar
    status: Scalar
    ill_conditioned: Scalar
    lowered: Scalar
    unmoved: Scalar
    singular: Scalar


#: Those that are flags in a state.
_FLAGS = ("ill_conditioned", "lowered", "unmoved", "singular")


class Packed(NamedTuple):
    """A state with its scalars in two arrays: each array that a program returns costs a
    microsecond.
    """

    numbers: Array  #: :class:`Numbers`, stacked
    counts: Array  #: :class:`Counts`, stacked
    scaling: Array
    sizes: Array
    start: Vector
    memory: Memory | None

    @classmethod
    def of(cls, state: State) -> Packed:
        """Of a state that is being traced."""
        numbers = Numbers(
            state.damping.damping,
            state.damping.carried,
            state.cost,
            state.gradient_norm,
            state.start_cost,
        )
        counts = Counts(*(getattr(state, name) for name in Counts._fields))
        return cls(
            jnp.stack(numbers),
            jnp.stack([jnp.asarray(count, jnp.int32) for count in counts]),
            state.scaling,
            state.sizes,
            state.start,
            state.memory,
        )

    @property
    def state(self) -> State:
        """What was packed."""
        numbers, counts = self.read_numbers(), Counts(*self.counts)
        flags = {name: getattr(counts, name) != 0 for name in _FLAGS}
        return State(
            damping=DampingState(numbers.damping, numbers.carried),
            scaling=self.scaling,
            sizes=self.sizes,
            cost=numbers.cost,
            num_steps=counts.num_steps,
            num_evaluations=counts.num_evaluations,
            gradient_norm=numbers.gradient_norm,
            attempts=counts.attempts,
            status=counts.status,
            start=self.start,
            start_cost=numbers.start_cost,
            memory=self.memory,
            **flags,
        )

    @property
    def is_traced(self) -> bool:
        """Whether there are no numbers yet, once :meth:`on_host`."""
        return not isinstance(self.counts, np.ndarray)

    def on_host(self) -> Packed:
        """With NumPy's scalars, waiting for the run; as it is where anything is traced, be it what
        has a derivative only.
        """
        if precision.is_traced((self.counts, self.numbers)):
            return self
        begin = time.perf_counter()
        while not self.counts.is_ready() and time.perf_counter() - begin < _SPINNING:
            pass
        return self._replace(counts=np.asarray(self.counts), numbers=np.asarray(self.numbers))

    def read_numbers(self) -> Numbers:
        """The real scalars."""
        return Numbers(*self.numbers)

    def read_counts(self) -> Counts:
        """The others, once :meth:`on_host`, as Python's integers: to compare NumPy's with a Status
        takes microseconds.
        """
        return Counts(*self.counts.tolist())

    def replaced(self, numbers: Numbers, counts: Counts) -> Packed:
        """With other scalars, on the host."""
        return self._replace(
            numbers=np.array(numbers, self.numbers.dtype),
            counts=np.array(counts, self.counts.dtype),
        )

    def with_fresh_damping(self, rule: DampingRule) -> Packed:
        """Running again, nearly undamped."""
        numbers = self.read_numbers()
        again = rule.restart(DampingState(numbers.damping, numbers.carried))
        counts = self.read_counts()._replace(attempts=0, status=int(Status.RUNNING), lowered=0)
        return self.replaced(numbers._replace(damping=again.damping, carried=again.carried), counts)
