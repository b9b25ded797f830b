"""Losses whose weights depend on all rows: sums, means over the weights, and targets that do not
count.

A fit lowers Σ weight · loss / (number of losses). Whatever else Keras divides by is a factor of all
weights, which is known once all rows have been seen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lmjax._src.objectives.losses.step_weights import spread
from lmjax._src.typing import NumpyArray, PyTree, Shape

#: Keras' names of what is done with the losses of all rows and steps, and Keras 2's.
MEANS = ("sum_over_batch_size", "mean", "auto")
REDUCTIONS = (*MEANS, "sum", "mean_with_sample_weight")


class OverAll:
    """The factor of the weights of a loss, by the rows that were given to :meth:`weights`.

    Args:
        loss: the loss; of interest are its ``reduction`` and ``counted``.
        collecting: whether rows are only counted for the time being, and their weights left alone,
            since there are more to come.
    """

    def __init__(self, loss: Any, collecting: bool = False) -> None:
        self.collecting = collecting
        self._loss = loss
        self._losses = self._counted = self._weight = 0.0
        self._reduction = getattr(loss, "reduction", MEANS[0])
        self.needed = self._reduction not in MEANS or _counts(loss)

    def weights(
        self, targets: PyTree, weights: NumpyArray | None, outputs_shape: Shape, name: str
    ) -> NumpyArray | None:
        """``weights`` of rows or steps times the factor, or as they are.

        Raises:
            ValueError: as :func:`~lmjax._src.objectives.losses.step_weights.spread`.
        """
        if not self.needed:
            return weights
        steps = self._loss.steps(outputs_shape) if hasattr(self._loss, "steps") else ()
        shape = (outputs_shape[0], *steps)
        given = np.ones(shape[:1]) if weights is None else spread(weights, shape, name)
        # Of every step, so that pieces are alike, whatever weights they come with.
        given = np.broadcast_to(
            given.reshape(given.shape + (1,) * (len(shape) - given.ndim)), shape
        )
        if self.collecting or not self._losses:
            counted = self._loss.counted(targets) if _counts(self._loss) else np.ones(shape)
            self._losses += math.prod(shape)
            self._counted += float(np.sum(counted))
            self._weight += float(np.sum(given * counted, dtype=float))
        return given if self.collecting else given * self.factor

    @property
    def factor(self) -> float:
        """Of all weights; 0 where nothing counts, as in Keras."""
        if not self.needed:
            return 1.0
        divisor = {"sum": 1.0, "mean_with_sample_weight": self._weight}.get(
            self._reduction, self._counted
        )
        return self._losses / divisor if divisor else 0.0


def _counts(loss: Any) -> bool:
    return callable(getattr(loss, "counted", None)) and getattr(loss, "leaves_out", True)
