"""The metrics that the model in a file was compiled with, by Keras' own code, where that is
installed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from bridge._src.command.data.samples import Data
from bridge._src.command.evaluation.predictions import predict
from bridge._src.description.identity import is_own, key_of
from bridge._src.formats.compiled import serialized_metrics
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.masks import output_mask
from bridge._src.training.outputs.structure import outputs_of
from bridge._src.typing import Config
from lmjax._src.runtime import interrupts
from lmjax._src.runtime.optional import needed, not_installed

#: What Keras is needed for.
_KERAS = ("keras", "keras", "a metric of compile()")
#: Samples that are computed at once.
_ROWS = 4096


class Metrics(NamedTuple):
    """Those of ``compile``, as files have them.

    Attributes:
        plain: those of ``metrics``.
        weighted: those of ``weighted_metrics``.
        names: of both.
    """

    plain: list[Any]
    weighted: list[Any]
    names: list[str]

    @classmethod
    def of(cls, compiled: Config) -> Metrics:
        """Those of a ``compile_config`` as Keras writes it."""
        names = serialized_metrics(compiled)
        if not names:
            return cls([], [], [])
        plain, weighted = (
            list(_each(compiled.get(option))) for option in ("metrics", "weighted_metrics")
        )
        return cls(plain, weighted, names)

    def hindrance(self, model: FlaxModel) -> str | None:
        """Why they cannot be computed here; None if they can."""
        if len(outputs_of(model.module)) > 1:
            return "the model has several outputs"
        if output_mask(model) is not None:
            return "steps are masked"
        if not all(map(_is_own, [*self.plain, *self.weighted])):
            return "some are not Keras' own"
        return str(not_installed(*_KERAS)) if find_spec("keras") is None else None

    def values(self, pairs: Sequence[tuple[FlaxModel, Data]]) -> list[dict[str, float]]:
        """Their values by Keras' names, as ``model.evaluate`` has them, for each of the pairs.

        A model that returns its inputs, compiled with the metrics, evaluates what the models say of
        the samples, so that Keras decides what a name such as "accuracy" means.

        Raises:
            NotInstalledError: Keras is missing.
            Interruption: a signal has come for which a caller watches.
            Exception: whatever Keras raises of metrics that do not suit the data.
        """
        # A command picks the backend of its own process; TensorFlow would take ten seconds.
        os.environ.setdefault("KERAS_BACKEND", "jax")
        keras = needed(*_KERAS)
        identities: dict[tuple[int, ...], Any] = {}  # by the shape of a row of outputs
        found = []
        for model, data in pairs:
            pieces = _pieces(model, data)
            first = next(pieces)
            shape = first[0].shape[1:]
            if shape not in identities:
                identities[shape] = self._identity(keras, shape)
            found.append(_evaluated(identities[shape], first, pieces, data.num_samples))
        return found

    def _identity(self, keras: Any, shape: tuple[int, ...]) -> Any:
        identity = keras.Sequential([keras.Input(shape), keras.layers.Activation("linear")])
        identity.compile(
            loss=lambda _, outputs: keras.ops.zeros_like(outputs[..., 0]),  # Keras wants one
            metrics=[_live(keras, one) for one in self.plain],
            weighted_metrics=[_live(keras, one) for one in self.weighted],
        )
        return identity


def _evaluated(
    identity: Any,
    first: tuple[np.ndarray, ...],
    others: Iterator[tuple[np.ndarray, ...]],
    num_samples: int,
) -> dict[str, float]:
    def batches() -> Iterator[tuple[np.ndarray, ...]]:
        yield first
        yield from others

    steps = math.ceil(num_samples / _ROWS)
    found = identity.evaluate(batches(), steps=steps, verbose=0, return_dict=True)
    return {name: float(value) for name, value in found.items() if name != "loss"}


def _pieces(model: FlaxModel, data: Data) -> Iterator[tuple[np.ndarray, ...]]:
    """Outputs, targets and weights if there are any."""
    for place, (outputs,) in enumerate(predict(model, data, _ROWS).pieces):
        interrupts.check()
        part = data.rows(slice(place * _ROWS, (place + 1) * _ROWS))
        targets = np.asarray(part.y)
        yield (
            (outputs, targets)
            if part.sample_weight is None
            else (outputs, targets, np.asarray(part.sample_weight))
        )


def _each(metrics: Any) -> Iterator[Any]:
    """The metrics in lists and dictionaries by outputs."""
    if isinstance(metrics, Mapping) and "class_name" not in metrics:
        metrics = list(metrics.values())
    if isinstance(metrics, (list, tuple)):
        for one in metrics:
            yield from _each(one)
    elif metrics is not None:
        yield metrics


def _is_own(metric: Any) -> bool:
    """Whether a metric, and all that is in its options, is Keras' own, so that nothing of a
    stranger's is imported.
    """
    if isinstance(metric, (list, tuple)):
        return all(map(_is_own, metric))
    if not isinstance(metric, Mapping):
        return True
    return ("class_name" not in metric or is_own(key_of(metric, "metrics"))) and all(
        map(_is_own, metric.values())
    )


def _live(keras: Any, metric: Any) -> Any:
    """What ``compile`` takes."""
    if not isinstance(metric, Mapping):
        return metric
    name = metric.get("config")
    if isinstance(name, str):  # a function, of which Keras finds some among losses only
        found = (getattr(module, name, None) for module in (keras.metrics, keras.losses))
        return next((one for one in found if one is not None), name)
    return keras.metrics.deserialize(
        {
            "module": "keras.metrics",
            "class_name": metric["class_name"],
            "config": dict(metric["config"]),
            "registered_name": None,
        }
    )
