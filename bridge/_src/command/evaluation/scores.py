"""The metrics of ``compile`` before and after a training, as ``lmjax evaluate`` has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from bridge._src.command.data.samples import Sets
from bridge._src.command.evaluation.metrics import Metrics
from bridge._src.command.output import note
from bridge._src.description.visible import one_line
from bridge._src.formats.compiled import without_metrics
from bridge._src.module.flax_model import FlaxModel
from lmjax._src.typing import Params

_NONE = Metrics([], [], [])


#: Before the names of metrics of what is looked at before and after a training, as Keras has them.
_PREFIXES = {"training": "", "validation": "val_"}


class Scores(NamedTuple):
    """Metrics by Keras' names, for each set of data by its name in :class:`Sets`; nothing where
    there are none, or they could not be computed.

    Attributes:
        start: with the weights before the training, of the data to train and to validate on.
        kept: with those that are kept, of all data.
    """

    start: Mapping[str, Mapping[str, float]] = {}
    kept: Mapping[str, Mapping[str, float]] = {}


def as_logs(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Those of the data to train and to validate on, as Keras names them in its logs."""
    return {
        f"{prefix}{name}": value
        for part, prefix in _PREFIXES.items()
        for name, value in found.get(part, {}).items()
    }


def computable(metrics: Metrics, model: FlaxModel) -> Metrics:
    """The metrics if they can be computed after the training, else none, and why is said."""
    reason = metrics.hindrance(model) if metrics.names else None
    if reason is None:
        return metrics
    _say(metrics, reason)
    return _NONE


def scores_of(
    metrics: Metrics, model: FlaxModel, ends: tuple[Params, Params], sets: Sets, *, stopped: bool
) -> Scores:
    """The metrics at the start and at the end of a training.

    Args:
        metrics: those that can be computed.
        model: the model.
        ends: the weights at the start, and those that are kept.
        sets: the data.
        stopped: whether a signal has ended the training; nobody is kept waiting then.
    """
    if not metrics.names:
        return Scores()
    model, trained = (dataclasses.replace(model, params=params) for params in ends)
    given = {name: data for name, data in sets._asdict().items() if data is not None}
    looks = [(name, model, data) for name, data in given.items() if name in _PREFIXES]
    before = len(looks)
    looks += [(name, trained, data) for name, data in given.items()]
    if stopped:
        reason = "a signal has ended the training"
    else:
        try:
            values = metrics.values([look[1:] for look in looks])
        except KeyboardInterrupt:
            reason = "interrupted"
        except Exception as error:  # noqa: BLE001 - Keras' code, beside a training that is done
            reason = one_line(str(error))
        else:
            found = [(name, value) for (name, *_), value in zip(looks, values, strict=True)]
            return Scores(dict(found[:before]), dict(found[before:]))
    _say(metrics, reason)
    return Scores()


def _say(metrics: Metrics, reason: str) -> None:
    note("fit", f"{without_metrics(metrics.names)} ({reason})")
