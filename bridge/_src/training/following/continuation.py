"""Where a training was left, so that another one goes on from there."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

from bridge._src.formats.live_weights import values_of
from bridge._src.module.flax_model import FlaxModel
from lmjax._src.training.following.continuation import FitState


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingState:
    """What a training goes on from, as ``History.state`` has it.

    Attributes:
        fit: in the numbers of the fit, which may be finer than those that the model can hold.
        weights: the digest of the weights that the model was left with.
        standardize: what was asked for, in words.
    """

    fit: FitState = dataclasses.field(repr=False)
    weights: str
    standardize: str

    @classmethod
    def of(
        cls, fit: FitState | None, converted: FlaxModel, standardize: Any
    ) -> TrainingState | None:
        """After a fit that left the live model as it is now."""
        return None if fit is None else cls(fit, _digest(converted), repr(standardize))


def to_go_on(given: Any, converted: FlaxModel, standardize: Any) -> FitState | None:
    """What the fit goes on from, by the ``state`` that a caller gave.

    Raises:
        TypeError: it is no state.
        ValueError: it is not of this model with these weights.
    """
    if given is None:
        return None
    if not isinstance(given, TrainingState):
        raise TypeError(
            f"state: expected History.state of an earlier fit, got {type(given).__name__}"
        )
    if given.weights != _digest(converted):
        raise ValueError(
            "state: the model does not have the weights with which the fit of this state has left "
            "it; give it those back, or leave state out to begin with the weights that it has"
        )
    if given.standardize != repr(standardize):
        raise ValueError(
            f"state: it is of a fit with standardize={given.standardize}, and here is "
            f"{standardize!r}; pass the same, or leave state out to begin anew"
        )
    return given.fit


def _digest(converted: FlaxModel) -> str:
    """Of all weights that the live model has, in order."""
    found = hashlib.sha256()
    for entry in converted.table:
        values = np.ascontiguousarray(values_of(entry.handle))
        found.update(f"{values.dtype}{values.shape}".encode())
        found.update(values.tobytes())
    return found.hexdigest()
