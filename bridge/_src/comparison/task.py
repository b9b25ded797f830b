"""What the methods of a comparison have in common: one loss, one start, one precision."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import lmjax
from bridge._src.training.train import Ready
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.data import Streamed
from lmjax._src.training.epochs.minibatch import loss_of
from lmjax._src.training.fit_result import objectives
from lmjax._src.typing import DType, Params


class Task(NamedTuple):
    """A model with its data, for any method."""

    objective: SupervisedObjective
    validation: SupervisedObjective | None
    offsets: dict[str, float]  #: what reported losses have beside costs
    bounds: Any  #: the weights that constraints allow, or None
    dtype: DType

    def start(self, params: Params) -> jax.Array:
        """Numbered ``params`` as a vector (P,), on the device, within the constraints."""
        flat = jnp.asarray(self.objective.structure.flatten_concrete(params, self.dtype))
        return flat if self.bounds is None else self.bounds.project(flat)

    def losses(self, point: jax.Array) -> tuple[float, float]:
        """Training and validation loss at a vector; the second is NaN without validation data."""
        loss = loss_of(self.objective, point) + self.offsets["loss"]
        if self.validation is None:
            return loss, math.nan
        return loss, loss_of(self.validation, point) + self.offsets["val_loss"]


def task_of(ready: Ready, solver: lmjax.LevenbergMarquardt | None) -> Task:
    """The task of a model and its data, which :func:`lmjax.fit` examines as before any fit.

    Raises:
        TypeError, ValueError: as :func:`lmjax.fit`; or the data are streamed.
    """
    if any(isinstance(given, Streamed) for given in ready.data):
        raise ValueError(
            "x: a comparison needs its data in memory; pass arrays, or a part of the data"
        )
    model, problem = ready.model, ready.problem
    result = lmjax.fit(
        problem.function,
        problem.params,
        ready.data[0],
        loss=problem.loss,
        validation_data=ready.data[1] if ready.data[1:] else None,
        **problem.penalties,
        bounds=problem.bounds,
        solver=solver,
        epochs=1,
        verbose=0,
    )
    if result.status is lmjax.Status.INTERRUPTED:
        raise KeyboardInterrupt
    if result.status is lmjax.Status.NON_FINITE_START:
        raise ValueError(f"model: {result.status.message}")
    objective, validation, offsets = objectives(result)
    assert isinstance(objective, SupervisedObjective)
    assert validation is None or isinstance(validation, SupervisedObjective)
    return Task(objective, validation, offsets, problem.bounds, model.dtype)
