"""How far outputs are from targets, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bridge._src.command.reporting.outcomes import Outcome
from lmjax._src.objectives.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from lmjax._src.objectives.losses.focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
)
from lmjax._src.objectives.losses.hinge import CategoricalHinge
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.plots.pairs import Pair, pairs_of
from lmjax._src.typing import NumpyArray

#: Outputs that have a row and a panel each; those of models with more are taken together.
_MOST_OUTPUTS = 9
_OF_TWO = (BinaryCrossentropy, BinaryFocalCrossentropy)
_OF_SEVERAL = (CategoricalCrossentropy, CategoricalFocalCrossentropy, CategoricalHinge)


class Classes(NamedTuple):
    """Classes of samples, or of their steps: (n,) whole numbers."""

    targets: NumpyArray
    outputs: NumpyArray
    num_classes: int

    @property
    def accuracy(self) -> float:
        """The share that is right; NaN of none."""
        return float(np.mean(self.targets == self.outputs)) if self.targets.size else np.nan

    def confusion(self) -> NumpyArray:
        """How many of each target (rows) were taken for which class (columns)."""
        both = self.targets * self.num_classes + self.outputs
        return np.bincount(both, minlength=self.num_classes**2).reshape(
            self.num_classes, self.num_classes
        )


def classes_of(outcome: Outcome, loss: Loss) -> Classes | None:
    """Classes where ``loss`` is one of classifiers, else None."""
    targets, outputs = outcome.targets, outcome.outputs
    if isinstance(loss, _OF_TWO):
        threshold = 0.0 if loss.from_logits else 0.5
        return Classes(*((targets > 0.5).ravel() + 0, (outputs > threshold).ravel() + 0), 2)
    if isinstance(loss, _OF_SEVERAL):
        found = targets.argmax(-1).ravel(), outputs.argmax(-1).ravel()
    elif isinstance(loss, SparseCategoricalCrossentropy):
        found = targets.astype(int).ravel(), outputs.argmax(-1).ravel()
        known = found[0] != loss.ignore_class
        found = found[0][known], found[1][known]
    else:
        return None
    return Classes(*found, outputs.shape[-1])


class Fitted(NamedTuple):
    """Numbers about one output, or about all of them together."""

    name: str
    samples: int
    root_mean_square: float
    mean_absolute: float
    largest: float
    determination: float  #: R², NaN where all targets are equal


def numbers_of(outcome: Outcome) -> tuple[NumpyArray, NumpyArray, Sequence[str] | None]:
    """Targets, outputs and names as pictures take them: a column for each output, or one for all
    where they are many.
    """
    outputs = outcome.outputs if outcome.outputs.ndim > 1 else outcome.outputs[:, None]
    targets = outcome.targets.reshape(outputs.shape).astype(np.float64)
    width = outputs.shape[-1]
    if width > _MOST_OUTPUTS:
        return targets.reshape(-1, 1), outputs.reshape(-1, 1), [f"all {width} outputs"]
    named = outcome.columns is not None and len(outcome.columns) == width
    return targets, outputs, outcome.columns if named else None


def fitted(outcome: Outcome) -> list[Fitted]:
    """The numbers of every output; none without samples."""
    if not outcome.outputs.size:
        return []
    targets, outputs, names = numbers_of(outcome)
    return [_of_pair(pair) for pair in pairs_of(targets, outputs, names, None)]


def _of_pair(pair: Pair) -> Fitted:
    errors, targets = pair.errors, pair.targets
    if not errors.size:
        return Fitted(pair.name, 0, *(np.nan,) * 4)
    squares = float(np.sum(errors**2))
    total = float(np.sum((targets - targets.mean()) ** 2))
    return Fitted(
        pair.name,
        errors.size,
        float(np.sqrt(squares / errors.size)),
        float(np.mean(np.abs(errors))),
        float(np.max(np.abs(errors))),
        1 - squares / total if total > 0 else np.nan,
    )
