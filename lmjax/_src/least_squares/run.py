"""A run from a start to its end: compiled steps in slices, looked at between them."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.vectors import Vector
from lmjax._src.least_squares.final_digits import MAX_PARAMETERS
from lmjax._src.least_squares.finish import (
    is_doubtful,
    is_level,
    settled_status,
    with_last_digits,
    with_minimum,
)
from lmjax._src.least_squares.implicit import with_derivatives
from lmjax._src.least_squares.newton import MAX_SADDLES, settled
from lmjax._src.least_squares.packed import Counts, Packed
from lmjax._src.least_squares.second_runs import CREEPING_COST, Again, Outcome, together
from lmjax._src.least_squares.watching.watch import Follower, Watch
from lmjax._src.levenberg_marquardt.acceptance import best_seen
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt, run_until
from lmjax._src.levenberg_marquardt.state import initial_state
from lmjax._src.levenberg_marquardt.status import Status, is_success
from lmjax._src.linear_solvers.auto import Chosen
from lmjax._src.linear_solvers.base import LinearSolverChoice
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime.bounded_jit import outside_of_transformations, recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.runtime.slices import slices
from lmjax._src.typing import Scalar

#: Multiplications that the first slice of a run may cost; about a tenth of a second on a slow core.
_FIRST_SLICE_OPERATIONS = 1e8

#: Steps after which a run is looked at that has not stopped, and after twice, four times, … as
#: many: a count, since how long the slices are depends on time. One whose cost has fallen by no
#: more than its rounding since the last look goes on in vain, or is where rounding decides which
#: steps are accepted.
_FIRST_LOOK = 100


def finish(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    bounds: Bounds | None,
    start: Vector,
    begun: Outcome | None = None,
    second_run: bool = True,
    watch: Watch | None = None,
) -> Outcome:
    """The end of a run from ``start`` (P,), or of one that has ``begun`` there: QR where normal
    equations lose their digits, last digits, Newton's method, and a second run where all that was
    in vain. Inside of :func:`lmjax._src.runtime.precision.scope`. ``watch`` follows all runs.
    """
    go = run if watch is None else partial(run, watch=watch)

    def run_from(other: LevenbergMarquardt, begin: Vector = start) -> Outcome:
        return go(other, objective, bounds, begin)

    again = Again(solver, run_from) if solver.second_run and second_run else None
    if begun is None:
        first = go(solver, objective, bounds, start, again)
    else:
        first = together(begun, run(solver, objective, bounds, begun.params, again))
    if watch is None:
        return first if again is None else again.better(first)
    if again is not None and watch.ended is None:
        first = watch.judged_together(again.better(first))
    watch.ends(first)
    return first


def run(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    bounds: Bounds | None,
    start: Vector,
    again: Again | None = None,
    traced: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """One run from ``start`` (P,) to its end: in slices, or in one loop where values are
    ``traced``. ``watch`` is told of the slices, and may end it.

    It ends early where it creeps and ``again`` overtakes it.
    """
    first = solver.max_steps
    # In a trace, where ``residual_fn`` may have captured something, each slice would be one more
    # program.
    if not traced and outside_of_transformations():
        first = int(max(1, min(_FIRST_LOOK, _FIRST_SLICE_OPERATIONS / start.size**3)))
    first = min(first, solver.max_steps)
    current = _Run(solver, objective, bounds, start, again if first == _FIRST_LOOK else None)
    interrupted = False
    follower = None if watch is None else watch.begins(start)
    paced = slices if watch is None else watch.slices
    try:
        for _, steps, _ in paced(_Run.advance, current, first, solver.max_steps):
            if follower is not None and current.is_ended_by(follower):
                break
            if current.packed.is_traced:
                # Something that is traced was captured by residual_fn: on in the same trace.
                if steps < solver.max_steps:
                    current.advance(solver.max_steps)
                break
            if not current.goes_on():
                break
    except KeyboardInterrupt:
        if not current.has_begun:
            raise
        interrupted = True
    outcome = current.outcome(interrupted)
    return outcome if watch is None else watch.judged(outcome)


class _Run:
    """A run on its way, after the slices that are done.

    Attributes:
        packed: the state where it is; only once it :attr:`has_begun`.
    """

    packed: Packed

    def __init__(
        self,
        solver: LevenbergMarquardt,
        objective: ResidualObjective,
        bounds: Bounds | None,
        start: Vector,
        again: Again | None,
    ) -> None:
        self._solver, self._objective, self._bounds = solver, objective, bounds
        self._again = again
        self._params = start  #: where it is, (P,)
        self._chosen = Chosen("", False)  #: for the last slice
        self._cost: Scalar = np.inf  #: at the last look
        self._saddles = 0  #: that it has left
        self.has_begun = False

    def advance(self, steps: int) -> _Run:
        """One slice; waits for its end."""
        packed, until = self.packed if self.has_begun else None, steps
        if packed is not None and not packed.is_traced:
            counts = packed.read_counts()
            if counts.status != Status.RUNNING:
                packed = packed.with_fresh_damping(self._solver.damping)
            until = min(counts.num_steps + steps, _next_look(counts.num_steps))
        params, packed, chosen = _slice(
            self._solver,
            self._objective,
            self._bounds,
            self._params,
            packed,
            min(until, self._solver.max_steps),
        )
        self.packed = packed.on_host()
        self._params, self._chosen, self.has_begun = params, chosen, True
        return self

    def goes_on(self) -> bool:
        """Whether another slice follows, with which options, and from where."""
        counts = self.packed.read_counts()
        steps, limit = counts.num_steps, self._solver.max_steps
        running = counts.status == Status.RUNNING
        if running and steps < limit and 2 * steps != _next_look(steps):
            return True  # between two looks
        following = self._following(counts)
        # The options are the same, and so will be what they cannot do.
        if following in (None, self._solver) and self._is_stuck(counts):
            following = self._settle(counts, following)
        cost = self.packed.read_numbers().cost
        if following is None or self._is_overtaken(cost):
            return False
        self._solver, self._cost = following, cost
        return True

    def is_ended_by(self, follower: Follower) -> bool:
        """Whether who watches it ends it here."""
        return follower.stops(self._objective, self._bounds, self._params, self.packed)

    def outcome(self, interrupted: bool) -> Outcome:
        """What it has come to."""
        params, state = best_seen(self._params, self.packed.state)
        running = int(Status.INTERRUPTED if interrupted else Status.MAX_STEPS)
        status: Scalar
        if self.packed.is_traced:
            status = jnp.where(state.status == Status.RUNNING, running, state.status)
        else:
            status = self.packed.read_counts().status
            status = running if status == Status.RUNNING else status
        return Outcome(params, state, status, self._chosen)

    def _following(self, counts: Counts) -> LevenbergMarquardt | None:
        """The options to go on with after a look; None at the end."""
        solver, status = self._solver, counts.status
        if counts.num_steps >= solver.max_steps:
            return None
        going_on = solver if status == Status.RUNNING else None
        lost = counts.ill_conditioned and (going_on is None or counts.num_steps >= _FIRST_LOOK)
        if not (lost or status == Status.ILL_CONDITIONED):
            return going_on
        if not isinstance(solver.linear_solver, LinearSolverChoice):
            return going_on
        if is_success(status) and self._params.size <= MAX_PARAMETERS:
            return None  # QR has confirmed it
        qr = solver.linear_solver.choose_for_ill_conditioned(self._objective, self._params)
        return going_on if qr is None else dataclasses.replace(solver, linear_solver=qr)

    def _is_stuck(self, counts: Counts) -> bool:
        """Whether only second derivatives can tell what this point is: of a run that has stopped,
        or gains nothing.
        """
        if not self._chosen.geodesic_acceleration:
            return False  # there may be no second derivatives
        cost = self.packed.read_numbers().cost
        if counts.status == Status.RUNNING:
            return self.packed.memory is None and is_level(cost, self._cost)
        return bool(is_doubtful(counts.status, cost, counts.singular, counts.unmoved))

    def _settle(
        self, counts: Counts, following: LevenbergMarquardt | None
    ) -> LevenbergMarquardt | None:
        """Moves to what Newton's method finds; the options to go on with."""
        if self._saddles >= MAX_SADDLES:
            return following
        minimum = settled(self._solver, self._objective, self._bounds, self._params)
        if minimum is None:
            return following
        status = settled_status(counts.status, bool(counts.singular), minimum)
        if status is None:
            return following
        self._params = minimum.params
        self.packed = with_minimum(self.packed, minimum, status)
        if minimum.found:
            return None
        if not minimum.left:
            return following
        self._saddles += 1
        self.packed = self.packed.with_fresh_damping(self._solver.damping)
        return self._solver

    def _is_overtaken(self, cost: Scalar) -> bool:
        """Whether as many steps again as those to the last look have left most of the cost, and the
        second run ends below all that this one may come to.
        """
        counts = self.packed.read_counts()
        creeps = (
            counts.num_steps == 2 * _FIRST_LOOK
            and counts.status == Status.RUNNING
            and self.packed.memory is None
            and cost > CREEPING_COST * self._cost
        )
        return self._again is not None and creeps and self._again.overtakes(self._cost, cost)


def _next_look(steps: int) -> int:
    """The number of steps after which a run that has taken so many is looked at next: see
    :data:`_FIRST_LOOK`.
    """
    return _FIRST_LOOK * 2 ** (steps // _FIRST_LOOK).bit_length()


@recent(static_argnums=(0,), effort=Effort.QUICK)
def _slice(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    bounds: Bounds | None,
    params: jax.Array,
    packed: Packed | None,
    until: jax.Array,
) -> tuple[jax.Array, Packed, Chosen]:
    if packed is None:
        objective.warn_of_traps(params)
    explicit = objective.explicit(params), bounds
    # The loops are not differentiated: the derivatives of their result are put in place at the end.
    objective, bounds, params, packed = jax.lax.stop_gradient((*explicit, params, packed))
    solver = solver.resolved(objective, params)
    state = initial_state(params, solver.non_monotonic) if packed is None else packed.state
    params, state = run_until(solver, objective, bounds, params, state, until)
    params, state = with_last_digits(solver, objective, bounds, params, state)
    params, cost = with_derivatives(*explicit, params, state.cost)
    return params, Packed.of(state._replace(cost=cost)), solver.chosen
