"""What a model was compiled with: its loss, its metrics, which a fit does not compute, and what of
its training is the user's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bridge._src.description.config import canonical
from bridge._src.description.identity import is_own, keras_of, key_of, overridden, stand_in
from bridge._src.typing import Config, KerasModel, Serialized

#: What Keras trains and evaluates a model by.
_TRAINING = (
    *(
        "compute_loss",
        "_compute_loss",
        "compute_loss_and_updates",
        "train_step",
        "test_step",
        "train_on_batch",
        "test_on_batch",
    ),
    *("make_train_function", "make_test_function", "fit", "evaluate", "losses", "add_loss"),
)

#: Names in the line; a model with more outputs and metrics would fill the terminal.
_LISTED = 8


def is_compiled(model: KerasModel) -> bool:
    """Whether a live model is compiled; Keras 2 has another name for it."""
    return bool(getattr(model, "compiled", getattr(model, "_is_compiled", False)))


def own_training(model: KerasModel) -> list[str]:
    """The methods of a live model that replace Keras' own training by another."""
    return overridden(model, _TRAINING)


def compiled_loss(model: KerasModel) -> Any:
    """The loss of a compiled live model; names stand for what Keras finds under them now, which may
    be the user's own.
    """
    losses = keras_of(model).losses

    def found(loss: Any) -> Any:
        try:
            return losses.get(loss) if isinstance(loss, str) else loss
        except ValueError:  # unknown to Keras, and to those who serve losses
            return loss

    return _mapped(found, model.loss)


def loss_options(loss: Any) -> dict[str, Any]:
    """The options of one of Keras' loss objects, with those that Keras 3 leaves out of the
    configuration: ``delta`` of Huber, ``axis`` of some. A file lacks them, for Keras' own loader as
    well.
    """
    return dict(loss.get_config()) | dict(getattr(loss, "_fn_kwargs", None) or {})


def serialized_loss(model: KerasModel) -> Serialized:
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
        made = loss() if isinstance(loss, type) else loss
        written: Config = keras_of(model).saving.serialize_keras_object(made)
        if hasattr(made, "get_config"):
            return canonical({**written, "config": loss_options(made)})
        return canonical(written)

    return _mapped(serialized, compiled_loss(model))


def metrics_of(model: KerasModel) -> list[str]:
    """The names of the metrics that a live model was compiled with, ``weighted_metrics``
    included.
    """
    # Keras 3 and Keras 2.
    compiled = [getattr(model, name, None) for name in ("_compile_metrics", "compiled_metrics")]
    return [
        name
        for metrics in compiled
        for option in ("_user_metrics", "_user_weighted_metrics")
        for name in _names(getattr(metrics, option, None))
    ]


def serialized_metrics(compiled: Config) -> list[str]:
    """Those of a ``compile_config`` as Keras writes it; none where it is nested deeper than Keras
    would.
    """
    try:
        return [
            name
            for option in ("metrics", "weighted_metrics")
            for name in _names(compiled.get(option))
        ]
    except RecursionError:
        return []


def without_metrics(names: list[str]) -> str:
    """The line that says so."""
    word = "metric" if len(names) == 1 else "metrics"
    listed = [name if name.isprintable() else repr(name) for name in names[:_LISTED]] + ["…"] * (
        len(names) > _LISTED
    )
    return (
        f"the {word} {', '.join(listed)} of compile() will not be computed, only losses; "
        "model.evaluate computes them"
    )


def warn_of_metrics(model: KerasModel) -> None:
    """Warns, where the caller of the caller stands, that nobody computes the metrics that a live
    model was compiled with.
    """
    metrics = metrics_of(model)
    if metrics:
        warnings.warn(without_metrics(metrics), stacklevel=3)


def _mapped(function: Callable[[Any], Any], losses: Any) -> Any:
    """``function`` of a loss, or of each in a list or dictionary."""
    if isinstance(losses, Mapping):
        return {name: _mapped(function, loss) for name, loss in losses.items()}
    return (
        [_mapped(function, loss) for loss in losses]
        if isinstance(losses, (list, tuple))
        else function(losses)
    )


def _names(metrics: Any) -> Iterator[str]:
    """The names in a structure of metrics: names, functions, objects, or what Keras writes for
    them.
    """
    if isinstance(metrics, Mapping) and "class_name" in metrics:
        config = metrics.get("config")
        yield (
            str(config.get("name") or metrics["class_name"])
            if isinstance(config, Mapping)
            else str(config or metrics["class_name"])
        )
    elif isinstance(metrics, (Mapping, list, tuple)):
        for item in metrics.values() if isinstance(metrics, Mapping) else metrics:
            yield from _names(item)
    elif metrics is not None:
        yield str(
            metrics
            if isinstance(metrics, str)
            else getattr(metrics, "name", getattr(metrics, "__name__", type(metrics).__name__))
        )
