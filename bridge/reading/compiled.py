"""The loss that a live model was compiled with, and what of its training is the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bridge.identity import is_own, keras_of, key_of, overridden, stand_in
from bridge.reading.config import canonical

#: What Keras trains and evaluates a model by.
_TRAINING = (
    *("compute_loss", "_compute_loss", "compute_loss_and_updates", "train_step", "test_step", "train_on_batch", "test_on_batch"),
    *("make_train_function", "make_test_function", "fit", "evaluate", "losses", "add_loss"),
)


def is_compiled(model: Any) -> bool:
    """Whether a live model is compiled; Keras 2 has another name for it."""
    return bool(getattr(model, "compiled", getattr(model, "_is_compiled", False)))


def own_training(model: Any) -> list[str]:
    """The methods of a live model that replace Keras' own training by another."""
    return overridden(model, _TRAINING)


def compiled_loss(model: Any) -> Any:
    """The loss of a compiled live model; names stand for what Keras finds under them now, which may be the user's own."""
    losses = keras_of(model).losses

    def found(loss: Any) -> Any:
        try:
            return losses.get(loss) if isinstance(loss, str) else loss
        except ValueError:  # unknown to Keras, and to those who serve losses
            return loss

    return _mapped(found, model.loss)


def serialized_loss(model: Any) -> Any:
    """The loss of a live model as Keras serializes it; None if it is not compiled with any.

    What is not Keras' own has a stand-in that says whose it is.
    """
    if not is_compiled(model) or getattr(model, "loss", None) is None:
        return None
    own = own_training(model)
    if own:
        return stand_in(type(model), f"{type(model).__name__}.{own[0]}")

    def serialized(loss: Any) -> Any:
        if loss is None or isinstance(loss, str):
            return loss
        if not is_own(key_of(loss, "losses")):
            return stand_in(loss)
        return canonical(keras_of(model).saving.serialize_keras_object(loss() if isinstance(loss, type) else loss))

    return _mapped(serialized, compiled_loss(model))


def _mapped(function: Callable[[Any], Any], losses: Any) -> Any:
    """``function`` of a loss, or of each in a list or dictionary."""
    if isinstance(losses, Mapping):
        return {name: _mapped(function, loss) for name, loss in losses.items()}
    return [_mapped(function, loss) for loss in losses] if isinstance(losses, (list, tuple)) else function(losses)
