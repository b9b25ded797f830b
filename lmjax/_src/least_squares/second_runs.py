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
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lmjax._src.least_squares.final_digits import MAX_PARAMETERS
from lmjax._src.levenberg_marquardt.scaling import RunningMaximum
from lmjax._src.levenberg_marquardt.status import Status, is_success
from lmjax._src.levenberg_marquardt.trust_region import TrustRegion
from lmjax._src.linear_solvers.auto import Chosen
from lmjax._src.linear_solvers.base import LinearSolverChoice
from lmjax._src.linear_solvers.qr import QR

if TYPE_CHECKING:
    from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
    from lmjax._src.levenberg_marquardt.state import State

#: (params, state, status, what was chosen) of a run.
Outcome = tuple[jax.Array, "State", Any, Chosen]

#: How a run must have ended for another one to be worth its time: not at a limit that was asked
#: for.
_FAILURES = (
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
        params, state, status, _ = self._taken()
        if status == Status.INTERRUPTED:
            raise KeyboardInterrupt
        reach = cost * (cost / before) ** hundreds
        return bool(is_success(status)) and float(state.cost) < reach * (
            1 - float(np.finfo(params.dtype).eps) ** 0.5
        )

    def better(self, first: Outcome) -> Outcome:
        """The outcome of the first run, or the better of two where it has crept or failed; the
        second one goes on first if that is it.

        Where the second is interrupted, so is the whole.
        """
        if self._outcome is None and not _is_worth_another(self._solver, first):
            return first
        try:
            second = self._taken()
            left = self._solver.max_steps - int(second[1].num_steps)
            if second[2] == Status.MAX_STEPS and left > 0 and _is_better(first, second):
                second = _together(
                    second,
                    self._run(
                        dataclasses.replace(straight(self._solver), max_steps=left), second[0]
                    ),
                )
            return better(first, second)
        except KeyboardInterrupt:
            return (*first[:2], int(Status.INTERRUPTED), first[3])

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
    params, state, status, chosen = second if _is_better(first, second) else first
    evaluations = first[1].num_evaluations + second[1].num_evaluations
    interrupted = second[2] == Status.INTERRUPTED
    return (
        params,
        state._replace(num_evaluations=evaluations),
        int(Status.INTERRUPTED) if interrupted else status,
        chosen,
    )


def _is_better(first: Outcome, second: Outcome) -> bool:
    """Whether the second run has the lower cost. A success of the second makes up for rounding, one
    of the first for a tenth.
    """
    costs = [float(outcome[1].cost) for outcome in (first, second)]
    successes = [bool(is_success(outcome[2])) for outcome in (first, second)]
    if successes == [True, False]:
        costs[0] *= CREEPING_COST
    elif successes == [False, True]:
        costs[1] *= 1 - float(np.finfo(first[0].dtype).eps) ** 0.5
    return costs[1] < costs[0]


def _together(begun: Outcome, rest: Outcome) -> Outcome:
    """A run in two parts."""
    steps, evaluations = (
        getattr(begun[1], name) + getattr(rest[1], name)
        for name in ("num_steps", "num_evaluations")
    )
    return rest[0], rest[1]._replace(num_steps=steps, num_evaluations=evaluations), rest[2], rest[3]


def _goes_elsewhere(solver: LevenbergMarquardt) -> bool:
    """Whether the second run has options that the first one does not have already."""
    return dataclasses.replace(straight(solver), max_steps=solver.max_steps) != solver


def _is_worth_another(solver: LevenbergMarquardt, first: Outcome) -> bool:
    params, state, status, chosen = first
    if not (
        solver.second_run and isinstance(status, int) and params.size <= MAX_PARAMETERS
    ):  # what is traced has no status yet
        return False
    # Where parameters run away, the normal equations lose their digits, and QR sees the cost
    # approach its limit: a success there is one at infinity as often as not.
    by_qr_alone = (
        isinstance(solver.linear_solver, LinearSolverChoice) and chosen.name == QR.__name__
    )
    doubtful = status in _FAILURES or (by_qr_alone and bool(is_success(status)))
    return doubtful and int(state.num_steps) > 0 and _goes_elsewhere(solver)
