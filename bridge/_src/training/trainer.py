"""Levenberg-Marquardt steps on a Keras model in a loop of one's own: ``bridge.Trainer``."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, cast

from jax.typing import DTypeLike

import lmjax
from bridge._src.conversion.convert import for_training
from bridge._src.conversion.to_keras import bring_home
from bridge._src.formats.compiled import warn_of_metrics
from bridge._src.module.renaming import to_names
from bridge._src.training.data import as_arrays
from bridge._src.training.entering import Entrance
from bridge._src.training.independent_rows import check_rows_apart
from bridge._src.training.losses import as_losses, check_unmasked, loss_of
from bridge._src.training.masks import output_mask
from bridge._src.training.outputs.losses import OutputLosses
from bridge._src.training.outputs.side_by_side import SideBySide, side_by_side
from bridge._src.training.outputs.supervision import Supervision
from bridge._src.training.penalties import check_trainable
from bridge._src.training.problem import problem_of
from bridge._src.typing import KerasModel
from lmjax._src.typing import Params, PyTree


class Trainer:
    """Does one Levenberg-Marquardt step on each batch of a loop of one's own.

    At the end of the block, however it comes, by an exception or Ctrl-C too, the model gets the
    weights as they are then; without a block, when :meth:`write_back` is called.

    The metrics that the model was compiled with are not computed, and a warning says so: a step
    knows its batch only, and Keras would need the weights at home. ``model.evaluate`` after
    :meth:`write_back` has them on whatever data.

    Args:
        model: a live Keras 3 / ``tf.keras`` model.
        loss: in place of the loss that the model was compiled with, as for :func:`bridge.fit`.
        dtype: "float32" or "float64" for the computation; by default as for :func:`bridge.fit`.
        solver: the options of the solver, as for :class:`lmjax.Trainer`.
        **options: further options of :class:`lmjax.Trainer`.

    Raises:
        ConversionError, ValueError, TypeError: as :func:`bridge.fit`.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="out")])
        >>> model.compile(loss="mse")
        >>> x = np.linspace(-1, 1, 8)[:, None]
        >>> with lmjax.keras.Trainer(model) as trainer:
        ...     for _ in range(10):
        ...         loss = trainer.step(x, 3 * x + 1)
        >>> kernel, bias = model.get_layer("out").get_weights()
        >>> round(float(kernel[0, 0]), 3), round(float(bias[0]), 3)
        (3.0, 1.0)
    """

    def __init__(
        self,
        model: KerasModel,
        *,
        loss: Any = None,
        dtype: DTypeLike | None = None,
        solver: lmjax.LevenbergMarquardt | None = None,
        **options: Any,
    ) -> None:
        warn_of_metrics(model)
        self._model = model
        converted = for_training(model, dtype)
        check_trainable(converted)
        module = converted.module
        chosen = loss_of(model, module) if loss is None else as_losses(loss, module)
        self._supervision, self._rows = Supervision(module, chosen), cast(SideBySide | None, None)
        served: Any = chosen
        if isinstance(chosen, OutputLosses):
            self._rows = side_by_side(converted, chosen)
            self._rows.check_rows_alone()
            converted, served = self._rows.model, self._rows.loss
        check_rows_apart(converted)
        self._converted, self._entrance = converted, Entrance(converted)
        self._mask = output_mask(converted, None if self._rows is None else self._rows.weights)
        self._loss = served
        problem = problem_of(converted, served)
        self._trainer = lmjax.Trainer(
            problem.function,
            problem.params,
            loss=problem.loss,
            **problem.penalties,
            bounds=problem.bounds,
            solver=solver,
            **options,
        )

    def __enter__(self) -> Self:
        """Begins a block that brings the weights home."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the model the weights as they are now."""
        self.write_back()

    def step(self, x: PyTree, y: PyTree, sample_weight: PyTree = None) -> float:
        """One step on a batch, as :meth:`lmjax.Trainer.step`.

        Args:
            x: inputs, an array (N, …), or a list or dictionary of arrays for several inputs.
            y: targets, one row for each of ``x``; for several outputs as in :func:`bridge.fit`.
            sample_weight: (N,), or (N, T) for each step of sequences, at least 0; None for ones.

        Returns:
            The batch's loss before the step.

        Raises:
            TypeError, ValueError: the batch cannot be used; the weights stay as they are.
        """
        inputs, targets = self._entrance.inputs(as_arrays(x)), self._supervision.targets(y, "y")
        weights = self._supervision.weights(targets, sample_weight, "sample_weight")
        if self._rows is not None:
            targets = self._rows.targets(targets)
            weights = self._rows.weights(weights, len(targets))
        if self._mask is not None:
            given, weights = weights, self._mask.weights_of(inputs, weights)
            if weights is not given:
                check_unmasked(self._loss)
        return self._trainer.step(inputs, targets, weights)

    @property
    def params(self) -> Params:
        """The trainable weights now, nested under Keras' layer names."""
        return to_names(self._trainer.params, self._converted.module)

    def write_back(self) -> KerasModel:
        """Gives the model the weights as they are now.

        Returns:
            The Keras model.
        """
        return bring_home(self._converted, self.params, self._model)
