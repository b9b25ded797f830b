"""Which parameters a fit returns, and when it has had enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import arguments, vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.typing import Array, Scalar

Restore = Literal["validation", "training", "last"]

#: Stands for no limit on the epochs without a better validation loss.
_NEVER = np.iinfo(np.int32).max


class Kept(NamedTuple):
    """What is carried from epoch to epoch where there are validation data, also by compiled loops.

    An epoch without a validation loss, which is then NaN, changes nothing.
    """

    params: Vector | None  #: of the least validation loss, where those are returned
    least: Scalar  #: validation loss
    waited: Scalar  #: validation losses since, int32

    def after(self, params: Vector, val_loss: Scalar) -> Kept:
        """After an epoch that ended at ``params``."""
        better = (val_loss < self.least) | (jnp.isfinite(val_loss) & ~jnp.isfinite(self.least))
        return Kept(
            None if self.params is None else vectors.where(better, params, self.params),
            jnp.where(better, val_loss, self.least),
            jnp.where(better, 0, self.waited + ~jnp.isnan(val_loss)).astype(jnp.int32),
        )

    def shifted(self, offset: float) -> Kept:
        """With ``offset`` in the loss."""
        if not offset:
            return self
        least: Scalar = np.asarray(self.least) + np.asarray(offset, np.asarray(self.least).dtype)
        return self._replace(least=least)

    def without_last(self, was_due: bool) -> Kept:
        """Before an epoch that moved nothing."""
        waited: Scalar = np.asarray(max(int(self.waited) - was_due, 0), np.int32)
        return self._replace(waited=waited)


class Rules(NamedTuple):
    """What decides on the parameters that are returned, and on the end of a fit beside convergence
    and the number of epochs.
    """

    restore: Restore
    validation_freq: int | frozenset[int] = 1  #: or the numbers of the epochs, from 1
    patience: int | None = None
    goal: float = -math.inf
    max_seconds: float = math.inf
    min_grad: float = -math.inf
    #: epochs that an earlier run has done, which ``validation_freq`` and the order of rows count
    skipped: int = 0

    @property
    def patience_number(self) -> Scalar:
        """Data for compiled loops."""
        number: Scalar = np.asarray(_NEVER if self.patience is None else self.patience, np.int32)
        return number

    def start(self, params: Vector, val_loss: float) -> Kept:
        """Before the first epoch."""
        least: Scalar = np.asarray(val_loss, vectors.dtype(params))
        none: Scalar = np.zeros((), np.int32)
        return Kept(params if self.restore == "validation" else None, least, none)

    def due(self, first: int, count: int) -> Array | None:
        """Which of ``count`` epochs from number ``first`` of this run (from 0) on have a validation
        loss; None for all of them.
        """
        if self.validation_freq == 1:
            return None
        numbers = self.skipped + np.arange(first + 1, first + count + 1)
        if isinstance(self.validation_freq, frozenset):
            return np.isin(numbers, list(self.validation_freq))
        return np.asarray(numbers % self.validation_freq == 0)

    def is_due(self, epoch: int) -> bool:
        """Whether epoch number ``epoch`` (from 0) has a validation loss."""
        due = self.due(epoch, 1)
        return due is None or bool(due[0])

    def verdict(self, logs: Mapping[str, float], kept: Kept | None, seconds: float) -> Status:
        """Why an epoch of those numbers, ``seconds`` after the start, is the last one; RUNNING if
        it is not.
        """
        if logs["loss"] <= self.goal:
            return Status.GOAL
        if logs.get("gradient_norm", math.inf) <= self.min_grad:
            return Status.MIN_GRADIENT
        if kept is not None and int(kept.waited) >= int(self.patience_number):
            return Status.PATIENCE
        return Status.TIME if seconds >= self.max_seconds else Status.RUNNING


def rules_of(
    restore: str | None,
    patience: int | None,
    goal: float | None,
    max_seconds: float | None,
    validation_freq: Any,
    min_grad: float | None = None,
    *,
    validated: bool,
) -> Rules:
    """What a caller asked for.

    Args:
        restore: "validation", "training", "last", or None for the first where there are validation
            data and the second elsewhere.
        patience: as for :func:`lmjax.fit`.
        goal: likewise.
        max_seconds: likewise.
        validation_freq: likewise.
        min_grad: likewise.
        validated: whether there are validation data.

    Raises:
        TypeError, ValueError: an argument is none of its kind, or has no effect.
    """
    if restore is None:
        restore = "validation" if validated else "training"
    if restore not in get_args(Restore):
        raise ValueError(f"restore: expected 'validation', 'training' or 'last', got {restore!r}")
    if not validated:
        if restore == "validation":
            raise ValueError(
                "restore: 'validation' needs validation data; pass validation_data (or "
                "validation_split), or leave restore out"
            )
        if patience is not None:
            raise ValueError(
                "patience: it counts epochs without a smaller validation loss; pass "
                "validation_data (or validation_split), or leave it out"
            )
    return Rules(
        cast(Restore, restore),
        _frequency(validation_freq),
        None if patience is None else arguments.whole_number(patience, "patience", 1),
        -math.inf if goal is None else arguments.real_number(goal, "goal"),
        math.inf if max_seconds is None else arguments.real_number(max_seconds, "max_seconds", 0.0),
        -math.inf if min_grad is None else arguments.real_number(min_grad, "min_grad", 0.0),
    )


def _frequency(given: Any) -> int | frozenset[int]:
    """As Keras takes it: every so many epochs, or in those of these numbers (from 1)."""
    if not isinstance(given, (list, tuple, set, frozenset, range, np.ndarray)):
        return arguments.whole_number(given, "validation_freq", 1)
    return frozenset(arguments.whole_number(number, "validation_freq", 1) for number in given)
