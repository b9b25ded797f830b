"""What :func:`bridge.fit` returns: a ``keras.callbacks.History`` that also says why it stopped."""

from __future__ import annotations

import functools
from typing import Any

import lmjax
from bridge._src.description.identity import keras_of
from bridge._src.training.following.continuation import TrainingState
from bridge._src.typing import KerasModel
from lmjax._src.training.fit_result import in_short


class History:
    """What :func:`fit` did: a ``keras.callbacks.History`` of the model's own Keras, and more.

    Attributes:
        history: lists with one number an epoch, by Keras' names: ``loss`` and the metrics of
            ``compile``, with ``val_`` before them those of the validation data, all after the
            epoch, as ``model.evaluate`` gives them; then what :class:`lmjax.FitResult` tells of
            steps, from ``damping`` to ``step_norm``, and ``seconds`` since the start. What is not
            computed in every epoch (``validation_freq``, ``metrics_every``) has fewer numbers, of
            the epochs that :meth:`epochs_of` tells.
        epoch: the epochs' numbers.
        params: ``verbose``, ``epochs`` and ``steps``, as Keras has them.
        model: the Keras model, with the fitted weights.
        status: why the fit stopped.
        best_epoch: the number of the epoch whose weights the model has; None for the initial ones,
            for those of the fit that this one has continued, and for those that a callback has put
            in at the end.
        state: what :func:`fit` goes on from with ``state=``: parameters of the last epoch in the
            precision of the fit, λ and what else was carried; it can be pickled.
        start: ``loss`` and ``val_loss`` before the first epoch.
        test: ``loss`` and the metrics of ``compile`` on the test data, by the weights that the
            model has after the fit; empty without such data, and after an interruption.
        warm_up: the losses at the start and after each step of Adam, if ``warm_up`` asked for some.
        restarts: with several starts what came of each: ``loss``, ``val_loss`` (the least ones),
            ``epochs`` and ``status``; all else here is of the best.
        best_start: its number; 0 for the weights that the model came with.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> model = keras.Sequential(
        ...     [keras.Input((1,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
        ... )
        >>> model.compile(loss="mse", metrics=["mae"])
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> history = lmjax.keras.fit(model, x, np.sin(3 * x), epochs=3, verbose=0)
        >>> len(history.history["mae"]), history.epoch, history.best_epoch
        (3, [0, 1, 2], 2)
        >>> isinstance(history, keras.callbacks.History), model.history is history
        (True, True)
        >>> print(history.status)  # doctest: +ELLIPSIS
        MAX_STEPS: Stopped at the step limit before convergence; ...
    """

    history: dict[str, list[float]]
    epoch: list[int]
    params: dict[str, Any]
    model: KerasModel
    status: lmjax.Status
    best_epoch: int | None
    start: dict[str, float]
    state: TrainingState | None
    test: dict[str, float]
    warm_up: list[float]
    restarts: list[Any]
    best_start: int

    def __init__(self) -> None:
        super().__init__()
        self.history, self.epoch = {}, []
        self.status, self.best_epoch, self.start = lmjax.Status.INTERRUPTED, None, {}
        self.test, self.state, self.warm_up = {}, None, []
        self.restarts, self.best_start = [], 0
        self._result: lmjax.FitResult | None = None
        self._epochs: dict[str, list[int]] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """As Keras' own, and notes which numbers this epoch has.

        Args:
            epoch: its number.
            logs: its numbers by name.
        """
        super().on_epoch_end(epoch, logs)  # type: ignore[misc] # Keras' class comes after this one
        for name in logs or {}:
            self._epochs.setdefault(name, []).append(epoch)

    def take(self, result: lmjax.FitResult, first: int) -> None:
        """What a fit says of itself, and what callbacks have not seen.

        Args:
            result: of the fit.
            first: the number of its first epoch.
        """
        for name, values in result.history.items():
            if len(self.history.get(name, ())) < len(values):
                self.history[name] = values
                self._epochs[name] = [first + number for number in result.epochs_of(name)]
        self.epoch = [first + number for number in range(len(result.history["loss"]))]
        self.status, self.start, self.warm_up = result.status, result.start, result.warm_up
        self.restarts, self.best_start, self._result = result.restarts, result.best_start, result
        best = result.best_epoch
        self.best_epoch = None if best is None else first + best

    @property
    def posterior(self) -> lmjax.Posterior:
        """What is known of the weights and of predictions after a fit with
        ``regularization="bayesian"``, for inputs as the model takes them.

        Raises:
            ValueError: the fit had no such regularization.
        """
        return self._trained.posterior

    @property
    def mixture(self) -> lmjax.Mixture:
        """The posteriors of all starts after a fit with ``regularization="bayesian"`` and
        ``restarts``, as one predictive distribution.

        Raises:
            ValueError: the fit had no such regularization.
        """
        return self._trained.mixture

    @property
    def _trained(self) -> lmjax.FitResult:
        if self._result is None:
            raise ValueError("posterior: this history is of no fit, or was pickled without it")
        return self._result

    def epochs_of(self, name: str) -> list[int]:
        """Which epochs the numbers of a list in ``history`` belong to.

        Args:
            name: of the list.

        Returns:
            Their numbers, which are all of ``epoch`` but for lists that ``validation_freq`` or
            ``metrics_every`` keep shorter.
        """
        return list(self._epochs[name])

    def plot(
        self,
        against: str = "epochs",
        *,
        steps: bool = False,
        label: str | None = None,
        axes: Any = None,
    ) -> Any:
        """Draws the losses and metrics, each with its validation values, and marks the epoch whose
        weights the model has; the extra ``lmjax[plot]`` brings Matplotlib.

        Args:
            against: what the horizontal axis counts, "epochs" or "seconds".
            steps: whether λ (or the radius of a trust region) and the gradient's norm have panels,
                too.
            label: what this training is called in the legend, where several share the axes.
            axes: Matplotlib's Axes, one for the loss and one for each metric; None for a new
                figure.

        Returns:
            An array of the Axes; see :func:`lmjax.plots.training_curves`.

        Raises:
            ImportError: Matplotlib is not installed.
            TypeError, ValueError: the axes or ``against`` are not of their kind, or the training
                has no epoch.
        """
        return lmjax.plots.training_curves(
            self.history,
            epochs=self._epochs,
            start=self.start,
            best_epoch=self.best_epoch,
            against=against,  # type: ignore[arg-type] # it is checked there
            steps=steps,
            label=label,
            axes=axes,
        )

    def __repr__(self) -> str:
        """A line."""
        return in_short("History", self.history, self.status)


def history_for(model: KerasModel) -> Any:
    """An empty :class:`History` that is one of the model's own Keras, too."""
    return _class(keras_of(model).callbacks.History)()


@functools.cache
def _class(kerases: type) -> type:
    def reduce(self: Any) -> tuple[Any, ...]:
        return _empty, (kerases,), vars(self) | {"_result": None}

    return type("History", (History, kerases), {"__doc__": History.__doc__, "__reduce__": reduce})


def _empty(kerases: type) -> Any:
    """For pickle, which finds no class that is made while a program runs."""
    return _class(kerases)()
