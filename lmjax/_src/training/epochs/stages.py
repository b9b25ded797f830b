"""What the steps of a fit are taken with, one after the other: little of the data or of the digits
first, all of them at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lmjax._src.arrays import vectors
from lmjax._src.arrays.products import is_double_at_once
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.state import State, StepNumbers, initial_state
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.sampled import SampledObjective
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.epochs.sampling import with_sample
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.typing import Scalar


def stages(
    solver: LevenbergMarquardt, objective: SupervisedObjective | StreamedObjective, params: Vector
) -> list[Any]:
    """The objectives in their order; each is left where its steps get slow or end, and only the
    last one says why a fit stopped.

    First comes a sample of the rows, where that is worth it. In single precision JᵀJ, or J Jᵀ, is
    summed in it for as long as that lowers the loss, since sums in double take twice as long; then
    in double, where there is such (see :data:`~lmjax._src.arrays.products.MAX_IN_DOUBLE`): with a
    sample in the same program, whose switch is data.
    """
    form = solver.linear.form
    whole: Any = objective.summed(in_double=True)
    used, wide = (
        with_sample(solver, whole, params),
        whole.dtype_of_sums(params, form) != vectors.dtype(params),
    )
    if isinstance(used, SampledObjective):
        return (
            [*(used.summed(switch=np.asarray(on)) for on in (False, True)), whole]
            if wide
            else [used, whole]
        )
    return [objective, whole] if wide and not sums_at_once(objective, params, form) else [whole]


def sums_at_once(
    objective: SupervisedObjective | StreamedObjective, params: Vector, form: Form
) -> bool:
    """Whether sums in double are no dearer than is worth mention; steps on batches have none else,
    whose λ does not fall below 1e-3.
    """
    size, length = vectors.size(params), objective.num_residuals(params)
    return is_double_at_once(*((length, size) if form is Form.DUAL else (size, length)))


def first_state(params: Vector) -> State:
    """The state before the first step of a fit, which tells of every step."""
    return initial_state(params)._replace(latest=StepNumbers.zeros(vectors.dtype(params)))


def going_on(params: Vector, state: State, objective: Any) -> State:
    """The state in which the next stage, of ``objective``, begins after a ``state``.

    With its λ and scaling, from the start again where steps had come to an end: in single precision
    a step with the first λ may be too short near a minimum to be seen in the loss.
    """
    sampled = isinstance(objective, SampledObjective)
    if int(state.status) != Status.RUNNING:
        known = objective.nothing_known(params) if sampled else None
        return first_state(params)._replace(num_steps=state.num_steps, known=known)
    none: Scalar = np.zeros((), np.int32)
    no: Scalar = np.asarray(False)
    return state._replace(known=state.known if sampled else None, attempts=none, lowered=no)
