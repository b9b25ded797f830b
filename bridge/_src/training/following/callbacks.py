"""Keras' callbacks, driven as Keras drives them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from bridge._src.description.identity import keras_of
from bridge._src.typing import KerasModel

#: Callbacks that do nothing but change what Levenberg-Marquardt does not have.
_OF_LEARNING_RATES = ("LearningRateScheduler", "ReduceLROnPlateau")
#: Methods by which a callback follows batches, in Keras 3 and Keras 2.
_OF_BATCHES = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


def callback_list(given: Any, model: KerasModel, history: Any, params: dict[str, Any]) -> Any:
    """The ``CallbackList`` of the model's own Keras for what a caller gave as ``callbacks``:
    Keras' callbacks, functions of (epoch, logs), or a list of them.

    Args:
        given: the callbacks.
        model: the model that they get.
        history: the ``History`` that follows them.
        params: ``verbose``, ``epochs`` and ``steps``.

    Raises:
        TypeError: something is no callback.
        ValueError: a callback would have no effect.
    """
    callbacks = keras_of(model).callbacks
    if isinstance(given, callbacks.CallbackList):
        for callback in given.callbacks:
            _check(callback, callbacks)
        given.callbacks.append(history)
        given.set_model(model)
        given.set_params(params)
        model.history = history
        return given
    found = [_as_callback(callback, callbacks) for callback in _flat(given)]
    return callbacks.CallbackList([*found, history], model=model, **params)


def follows_batches(given: Any, model: KerasModel) -> bool:
    """Whether one of the callbacks of a ``CallbackList`` has a method of its own for batches."""
    base = keras_of(model).callbacks.Callback
    return any(
        getattr(type(callback), name, None) is not getattr(base, name)
        or name in vars(callback)  # as LambdaCallback has them
        for callback in given.callbacks
        for name in _OF_BATCHES
    )


def shows_progress(given: Any, model: KerasModel) -> bool:
    """Whether a ``CallbackList`` has a progress bar."""
    callbacks = keras_of(model).callbacks
    return any(isinstance(callback, callbacks.ProgbarLogger) for callback in given.callbacks)


def _flat(given: Any) -> Iterator[Any]:
    if isinstance(given, (list, tuple)):
        for one in given:
            yield from _flat(one)
    elif given is not None:
        yield given


def _as_callback(given: Any, callbacks: Any) -> Any:
    if isinstance(given, callbacks.Callback):
        _check(given, callbacks)
        return given
    if callable(given) and not isinstance(given, type):
        return _of_function(callbacks.Callback)(given)
    package = callbacks.Callback.__module__.partition(".")[0]
    hint = f"; call {given.__name__}(...) to make one" if isinstance(given, type) else ""
    raise TypeError(
        f"callbacks: expected callbacks of {package}, which the model is of, or functions of "
        f"(epoch, logs), got {given!r}{hint}"
    )


def _check(callback: Any, callbacks: Any) -> None:
    for name in _OF_LEARNING_RATES:
        if isinstance(callback, getattr(callbacks, name)):
            raise ValueError(
                f"callbacks: {type(callback).__name__} changes the learning rate of Keras' "
                "optimizer, and Levenberg-Marquardt has none: it finds the length of every step "
                "by itself; leave it out"
            )


@functools.cache
def _of_function(base: type) -> Callable[[Any], Any]:
    """The class of callbacks that call a function of (epoch, logs) after every epoch; one that
    returns something true, such as NumPy's, ends the fit.
    """

    class Function(base):
        def __init__(self, function: Callable[[int, dict[str, float]], object]) -> None:
            super().__init__()
            self._function = function

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if bool(self._function(epoch, dict(logs or {}))):
                self.model.stop_training = True

    return Function
