"""Rows that a fit neither trains on nor chooses by: a look at them with the weights that the model
has in the end.
"""

from __future__ import annotations

import dataclasses
import sys

from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.following.evaluation import Evaluation
from bridge._src.training.following.mean_loss import mean_loss
from bridge._src.training.outputs.losses import OutputLosses
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.training.data import Data
from lmjax._src.training.following.progress import Forgiving
from lmjax._src.typing import Params


class HeldBack:
    """The rows to test on.

    Args:
        model: as it is before the fit, with whose weights the loss is computed once, so that data
            that do not fit are refused before hours are spent.
        loss: of its outputs.
        data: the rows.
        evaluation: of the compiled metrics; None without any.

    Raises:
        ConversionError, TypeError, ValueError: as :func:`mean_loss`.
    """

    def __init__(
        self,
        model: FlaxModel,
        loss: Loss | OutputLosses,
        data: Data,
        evaluation: Evaluation | None,
    ) -> None:
        self._model, self._loss, self._data, self._evaluation = model, loss, data, evaluation
        try:
            self._loss_at(model.params)
        except (TypeError, ValueError) as error:
            if str(error).startswith("test"):
                raise
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"test data: {error}") from error

    def look(self, params: Params) -> dict[str, float]:
        """Loss and metrics by Keras' names.

        Args:
            params: the trainable weights, which the live model has.
        """
        found = {"loss": self._loss_at(params)}
        return found if self._evaluation is None else found | self._evaluation.test(self._data)

    def _loss_at(self, params: Params) -> float:
        return mean_loss(dataclasses.replace(self._model, params=params), self._loss, self._data)


def tell(found: dict[str, float]) -> None:
    """Prints what a look has found, in a line."""
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
    print(f"On the test data: {numbers}.", file=Forgiving(sys.stdout), flush=True)
