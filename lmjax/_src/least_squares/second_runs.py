"""A second run from the same start, for one that has failed: another path may end elsewhere.

Bent paths under a strong first damping keep a run on the course to which the start's slope points,
which finds most minima from far starts. Some of those courses lead to where parameters run away and
the cost creeps: a sine of too low a frequency becomes a straight line of endless amplitude. Long
straight steps leave there at once. A run that creeps takes hundreds of steps to its failure, so the
second one is taken before these, and the first goes on only where that finds no better minimum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from lmjax._src.least_squares.final_digits import MAX_PARAMETERS
from lmjax._src.levenberg_marquardt.scaling import RunningMaximum
from lmjax._src.levenberg_marquardt.status import Status, is_success
from lmjax._src.levenberg_marquardt.trust_region import TrustRegion
from lmjax._src.linear_solvers.auto import Chosen
from lmjax._src.linear_solvers.base import LinearSolverChoice
from lmjax._src.linear_solvers.qr import QR
from lmjax._src.typing import Scalar

if TYPE_CHECKING:
    from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
    from lmjax._src.levenberg_marquardt.state import State

#: How a run must have ended for another one to be worth its time: not at a limit that was asked
#: for.
FAILURES = (
    Status.DAMPING_EXHAUSTED,
    Status.FLAT,
    Status.NON_FINITE_DERIVATIVE,
    Status.ILL_CONDITIONED,
    Status.SADDLE,
)


#: The steps of the second run at the most: long steps get there soon, or wander.
MAX_STEPS = 200

#: A run creeps where its second hundred steps leave more than this part of the cost.
CREEPING_COST = 0.9


class Outcome(NamedTuple):
    """What a run has come to."""

    params: jax.Array  #: (P,)
    state: State
    status: Scalar  #: a code, or an array of one where it is traced
    chosen: Chosen  #: what was chosen for the last of its steps


class Again:
    """The second run, taken once at the most; ``run`` runs with the options that it is given, from
    the start or from where it is told.
    """

    def __init__(self, solver: LevenbergMarquardt, run: Callable[..., Outcome]) -> None:
        self._solver, self._run = solver, run
        self._outcome: Outcome | None = None

    def overtakes(self, before: float, cost: float) -> bool:
        """Whether the second run, taken now, finds a minimum below all that the first one may still
        come to.

        That creeps: its second hundred steps went from the cost ``before`` to ``cost``, and they
        seldom get faster. Of 490 sums of two exponentials and quotients of polynomials with such
        runs one did, and was given up for a minimum that its own was below.
        """
        hundreds = self._solver.max_steps / 100 - 2
        if hundreds < MAX_STEPS / 100 or not _goes_elsewhere(self._solver):
            return False
        second = self._taken()
        if second.status == Status.INTERRUPTED:
            raise KeyboardInterrupt
        reach = cost * (cost / before) ** hundreds * (1 - _half_of_the_digits(second))
        return bool(is_success(second.status)) and float(second.state.cost) < reach

    def better(self, first: Outcome) -> Outcome:
        """The outcome of the first run, or the better of two where it has crept or failed; the
        second one goes on first if that is it.

        Where the second is interrupted, so is the whole.
        """
        if self._outcome is None and not _is_worth_another(self._solver, first):
            return first
        try:
            second = self._taken()
            left = self._solver.max_steps - int(second.state.num_steps)
            if second.status == Status.MAX_STEPS and left > 0 and _is_better(first, second):
                options = dataclasses.replace(straight(self._solver), max_steps=left)
                second = together(second, self._run(options, second.params))
            return better(first, second)
        except KeyboardInterrupt:
            return first._replace(status=int(Status.INTERRUPTED))

    def _taken(self) -> Outcome:
        if self._outcome is None:
            self._outcome = self._run(straight(self._solver))
        return self._outcome


def straight(solver: LevenbergMarquardt) -> LevenbergMarquardt:
    """The same options with the path of MINPACK: straight steps in a trust region, in the units
    that the data give.

    Source: J. J. Moré, "The Levenberg-Marquardt algorithm: implementation and theory", 1978.
    """
    scaling = RunningMaximum(memory=1.0, power=1.0)
    max_steps = min(solver.max_steps, MAX_STEPS)
    return dataclasses.replace(
        solver,
        geodesic_acceleration=False,
        damping=TrustRegion(),
        scaling=scaling,
        max_steps=max_steps,
    )


def better(first: Outcome, second: Outcome) -> Outcome:
    """One of two runs, see :func:`_is_better`, with the evaluations of both."""
    best = second if _is_better(first, second) else first
    evaluations = first.state.num_evaluations + second.state.num_evaluations
    interrupted = second.status == Status.INTERRUPTED
    return best._replace(
        state=best.state._replace(num_evaluations=evaluations),
        status=int(Status.INTERRUPTED) if interrupted else best.status,
    )


def _is_better(first: Outcome, second: Outcome) -> bool:
    """Whether the second run has the lower cost. A success of the second makes up for rounding, one
    of the first for a tenth.
    """
    costs = [float(outcome.state.cost) for outcome in (first, second)]
    successes = [bool(is_success(outcome.status)) for outcome in (first, second)]
    if successes == [True, False]:
        costs[0] *= CREEPING_COST
    elif successes == [False, True]:
        costs[1] *= 1 - _half_of_the_digits(first)
    return costs[1] < costs[0]


def _half_of_the_digits(outcome: Outcome) -> float:
    """A fraction of a cost that rounding may have taken from it, by far."""
    return float(np.finfo(outcome.params.dtype).eps) ** 0.5


def together(begun: Outcome, rest: Outcome) -> Outcome:
    """A run in two parts."""
    state = rest.state._replace(
        num_steps=begun.state.num_steps + rest.state.num_steps,
        num_evaluations=begun.state.num_evaluations + rest.state.num_evaluations,
    )
    return rest._replace(state=state)


def _goes_elsewhere(solver: LevenbergMarquardt) -> bool:
    """Whether the second run has options that the first one does not have already."""
    return dataclasses.replace(straight(solver), max_steps=solver.max_steps) != solver


def _is_worth_another(solver: LevenbergMarquardt, first: Outcome) -> bool:
    # What is traced has no status yet.
    if not (
        solver.second_run and isinstance(first.status, int) and first.params.size <= MAX_PARAMETERS
    ):
        return False
    # Where parameters run away, the normal equations lose their digits, and QR sees the cost
    # approach its limit: a success there is one at infinity as often as not.
    chooses = isinstance(solver.linear_solver, LinearSolverChoice)
    by_qr_alone = chooses and first.chosen.name == QR.__name__
    doubtful = first.status in FAILURES or (by_qr_alone and bool(is_success(first.status)))
    return doubtful and int(first.state.num_steps) > 0 and _goes_elsewhere(solver)
