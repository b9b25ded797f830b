"""Levenberg-Marquardt for some seconds: the compiled loop of :func:`lmjax.fit`, from its first
step on.
"""

from __future__ import annotations

import jax
import numpy as np

import lmjax
from bridge._src.comparison.curve import Curve
from bridge._src.comparison.task import Task
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.training.epochs.course import Course
from lmjax._src.training.epochs.epochs import reports_of
from lmjax._src.training.fit import FIT_SOLVER
from lmjax._src.training.following.selection import rules_of
from lmjax._src.training.penalties import limits_of

#: More than any run does.
_NO_LIMIT = 2**31 - 1


def levenberg_marquardt(
    task: Task, start: jax.Array, seconds: float, solver: lmjax.LevenbergMarquardt | None = None
) -> Curve:
    """The run; it ends early where it has converged.

    The loss of every step is that of the compiled loop, the validation loss too, so that both are
    on its clock; within a slice of steps the time is divided evenly.
    """
    loss, val_loss = task.losses(start)
    rules = rules_of(None, None, None, None, 1, validated=task.validation is not None)
    kept = None if task.validation is None else rules.start(start, val_loss)
    course = Course(
        FIT_SOLVER if solver is None else solver,
        task.objective,
        task.validation,
        _NO_LIMIT,
        rules,
        task.offsets,
        bounds=limits_of(task.bounds, task.objective.penalty),
    ).resolved(start)
    spent, losses, val_losses = [0.0], [loss], [val_loss]
    for report in reports_of(course, start, 0, kept):
        now, count = spent[-1] + report.seconds, len(report.numbers["loss"])
        spent += np.linspace(spent[-1], now, count + 1)[1:].tolist()
        losses += report.numbers["loss"]
        val_losses += report.numbers.get("val_loss", [val_loss] * count)
        if report.status != Status.RUNNING or now >= seconds:
            break
    return Curve(spent, losses, val_losses, list(range(len(losses)))).until(seconds)
