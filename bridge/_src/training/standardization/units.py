"""The units of the numbers that the weights of a fit take and give."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, Protocol

import jax
import numpy as np

import lmjax
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.following.mean_loss import mean_loss
from bridge._src.training.problem import Problem
from bridge._src.training.standardization.beginning import beginning_of, folding_of
from bridge._src.training.standardization.folding import Folding
from bridge._src.training.standardization.request import Request
from lmjax._src.training.data import TRAINING, Data, InMemory
from lmjax._src.typing import Params

#: Means of inputs so many times their deviations take three of the seven digits of float32.
_FAR = 1e3
#: Rows on which the rounded model is looked at then.
_LOOKED_AT = 4096
#: So much larger a loss in float32 is worth a warning.
_MUCH_WORSE = 1.01


class Units(Protocol):
    """What a fit asks of the units in which it is done."""

    @property
    def model(self) -> FlaxModel:
        """What is trained; it takes and gives the data as they are, whatever its weights do."""

    @property
    def given(self) -> Params:
        """The weights that the model came with."""

    def fold(self, params: Params) -> Params:
        """The model's own weights from those of the fit."""

    def unfold(self, params: Params) -> Params:
        """The inverse."""

    def loss(self, loss: Any) -> Any:
        """The loss of :attr:`model`."""

    def penalised(self, problem: Problem, model: FlaxModel) -> Problem:
        """``problem`` with the penalty of the model's own weights."""

    def is_gain(self, params: Params, result: lmjax.FitResult) -> bool:
        """Whether own weights that are better than those at the start are better than the model
        as it came.
        """


@dataclasses.dataclass(frozen=True)
class OwnUnits:
    """Those of the data."""

    model: FlaxModel

    @property
    def given(self) -> Params:
        """See :class:`Units`."""
        return self.model.params

    def fold(self, params: Params) -> Params:
        """See :class:`Units`."""
        return params

    def unfold(self, params: Params) -> Params:
        """See :class:`Units`."""
        return params

    def loss(self, loss: Any) -> Any:
        """See :class:`Units`."""
        return loss

    def penalised(self, problem: Problem, model: FlaxModel) -> Problem:
        """See :class:`Units`."""
        return problem

    def is_gain(self, params: Params, result: lmjax.FitResult) -> bool:
        """See :class:`Units`."""
        return True


@dataclasses.dataclass(frozen=True)
class Standardized:
    """Zero mean and unit variance, or from -1 to 1.

    Attributes:
        folding: from there to the units of the data.
        bound: the loss that a fit has to fall below; None where any that falls will do.
        model: see :class:`Units`.
        data: by which the weights are chosen.
        raw_loss: of the raw model.
    """

    folding: Folding
    bound: float | None
    model: FlaxModel
    data: Data
    raw_loss: Any

    @classmethod
    def of(
        cls,
        model: FlaxModel,
        data: Data,
        held_out: Data | None,
        loss: Any,
        request: Request,
        options: dict[str, Any],
    ) -> Standardized:
        """For a fit with ``options``; see :func:`folding_of`."""
        folding = folding_of(model, data, loss, request)
        restore = options.get("restore")
        validated = restore in (None, "validation") and held_out is not None
        judged = held_out if validated and held_out is not None else data
        begin = beginning_of(folding, judged, loss)
        # Whatever the last epoch leaves was asked for.
        bound = None if restore == "last" else begin.bound
        return cls(folding, bound, folding.model(begin.params), judged, loss)

    @property
    def given(self) -> Params:
        """See :class:`Units`."""
        return self.folding.raw.params

    def fold(self, params: Params) -> Params:
        """See :class:`Units`."""
        return self.folding.fold(params)

    def unfold(self, params: Params) -> Params:
        """See :class:`Units`."""
        return self.folding.unfold(params)

    def loss(self, loss: Any) -> Any:
        """See :class:`Units`."""
        return self.folding.loss(loss, self.model)

    def penalised(self, problem: Problem, model: FlaxModel) -> Problem:
        """See :class:`Units`."""
        return self.folding.penalised(problem, model)

    def is_gain(self, params: Params, result: lmjax.FitResult) -> bool:
        """See :class:`Units`. Warns where the model in float32 is much worse than what was
        fitted.
        """
        try:
            self._check_single(params)
            if self.bound is None:
                return True
            return self._loss(self.folding.raw, params, self.data) < self.bound
        except (Exception, KeyboardInterrupt):  # noqa: BLE001 - the training is done, and is not lost to a last look at the data
            if self.bound is None:
                return True
            name = "loss" if self.data.names == TRAINING else "val_loss"
            return min(result.history.get(name, []), default=math.inf) < self.bound

    def _loss(self, model: FlaxModel, params: Params, data: Data) -> float:
        return mean_loss(dataclasses.replace(model, params=params), self.raw_loss, data)

    def _check_single(self, params: Params) -> None:
        """Warns; on some rows, and only where numbers are so far from 0 that digits may be lost."""
        raw = self.folding.raw
        maps = [of for _, of in (*self.folding.inputs, *self.folding.targets)]
        far = max(float(np.max(np.abs(of.shift / of.scale))) for of in maps)
        stored = {entry.dtype for entry in raw.table.trainable}
        if far < _FAR or stored == {"float64"} or not isinstance(self.data, InMemory):
            return
        x, y, weights = jax.tree.map(lambda leaf: leaf[:_LOOKED_AT], self.data[:3])
        some = self.data._replace(x=x, y=y, sample_weight=weights)
        single = np.dtype("float32")
        alone = jax.tree.map(lambda leaf: np.asarray(leaf, single), params)
        exact = self._loss(raw, params, some)
        in_single = self._loss(dataclasses.replace(raw, dtype=single), alone, some)
        if not in_single <= _MUCH_WORSE * abs(exact):
            warnings.warn(
                "standardize: in float32, in which the model computes, its loss is "
                f"{in_single:.4g} in place of {exact:.4g}, since numbers lie {far:.2g} "
                "deviations from 0; subtract a constant from them, or put a "
                "keras.layers.Normalization in front",
                stacklevel=2,
            )
