"""What :func:`bridge.fit` returns: a ``keras.callbacks.History`` that also says why it stopped."""

from __future__ import annotations

import functools
from typing import Any

import lmjax
from bridge._src.description.identity import keras_of
from bridge._src.typing import KerasModel


class History:
    """What :func:`fit` did: a ``keras.callbacks.History`` of the model's own Keras, and more.

    Attributes:
        history: lists with one number an epoch, by Keras' names: ``loss`` and the metrics of
            ``compile``, with ``val_`` before them those of the validation data, and ``seconds``
            since the start of the training. All are those after the epoch, as ``model.evaluate``
            gives them. What is not computed in every epoch (``validation_freq``,
            ``metrics_every``) has fewer numbers.
        epoch: the epochs' numbers.
        params: ``verbose``, ``epochs`` and ``steps``, as Keras has them.
        model: the Keras model, with the fitted weights.
        status: why the fit stopped.
        best_epoch: the number of the epoch whose weights the model has; None for the initial ones,
            and for those that a callback has put in at the end.
        start: ``loss`` and ``val_loss`` before the first epoch.

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
        >>> sorted(history.history), history.epoch, history.best_epoch
        (['loss', 'mae', 'seconds'], [0, 1, 2], 2)
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

    def __init__(self) -> None:
        super().__init__()
        self.history, self.epoch = {}, []
        self.status, self.best_epoch, self.start = lmjax.Status.INTERRUPTED, None, {}

    def __repr__(self) -> str:
        """A line."""
        lasts = ", ".join(
            f"{name}={values[-1]:.4g}"
            for name, values in self.history.items()
            if values and name != "seconds"
        )
        return f"<History of {len(self.epoch)} epochs: {lasts}; {self.status.name}>"


def history_for(model: KerasModel) -> Any:
    """An empty :class:`History` that is one of the model's own Keras, too."""
    return _class(keras_of(model).callbacks.History)()


@functools.cache
def _class(kerases: type) -> type:
    def reduce(self: Any) -> tuple[Any, ...]:
        return _empty, (kerases,), vars(self)

    return type("History", (History, kerases), {"__doc__": History.__doc__, "__reduce__": reduce})


def _empty(kerases: type) -> Any:
    """For pickle, which finds no class that is made while a program runs."""
    return _class(kerases)()
