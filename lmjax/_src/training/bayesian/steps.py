"""A step of a fit whose regularization follows from the data."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt import step
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.state import State
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.bayesian.evidence import Evidence
from lmjax._src.training.bayesian.relinearized import Relinearized
from lmjax._src.typing import Scalar

#: Ends that hold for one strength of the penalty, and not for the next.
_OF_ONE_STRENGTH = (
    *(Status.GRADIENT, Status.COST, Status.STEP, Status.PRECISION, Status.ZERO),
    *(Status.DAMPING_EXHAUSTED, Status.ILL_CONDITIONED),
)


class Moved(NamedTuple):
    """What a step has come to."""

    params: Vector
    state: State
    evidence: Evidence
    loss: jax.Array  #: the mean loss, without the penalty


def step_by_evidence(
    solver: LevenbergMarquardt,
    objective: SupervisedObjective,
    params: Vector,
    state: State,
    evidence: Evidence,
) -> Moved:
    """A change of the regularization and a step with it, from one linearization of ``objective``,
    which has no penalty.
    """
    linearization = objective.linearize(params, solver.linear.form)
    evidence = evidence.updated(linearization, params)
    penalty = evidence.penalty
    whole = Relinearized.of(objective, penalty, linearization)
    params, state = step.step(solver, whole, None, params, state)
    codes = jnp.asarray([int(status) for status in _OF_ONE_STRENGTH], jnp.int32)
    goes_on = jnp.any(state.status == codes) & ~evidence.settled
    running: Scalar = np.asarray(int(Status.RUNNING), np.int32)
    # A damping that has risen without end begins again, as before a first step.
    endless = goes_on & (state.status == int(Status.DAMPING_EXHAUSTED))
    state = state._replace(
        status=jnp.where(goes_on, running, state.status),
        attempts=jnp.where(goes_on, 0, state.attempts),
        lowered=state.lowered & ~goes_on,
        num_evaluations=jnp.where(endless, 0, state.num_evaluations),
    )
    # The difference of the cost and the penalty would lack digits.
    return Moved(params, state, evidence, objective.cost(objective.evaluate(params)))
