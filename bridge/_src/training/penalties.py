"""What a Keras model adds to its loss, and what it demands of its weights, beside the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerGraph, LayerRecord
from bridge._src.description.identity import described
from bridge._src.description.regularizers import (
    Factors,
    factors_of,
    orthogonal_fault,
    orthogonal_of,
)
from bridge._src.description.weights import nest
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.constraints import Limits, limits_of
from bridge._src.typing import Serialized
from lmjax._src.typing import PyTree

#: Layers that hand their activity regularizer to inner layers.
_HANDED_ON = ("GroupQueryAttention", "GroupedQueryAttention", "MultiHeadAttention")


def penalties(model: FlaxModel) -> dict[str, dict[str, PyTree]]:
    """The factors of Σ l2 w² and Σ l1 |w|, and of the mean cosines of rows and of columns, that are
    not all zero, under the names of :func:`lmjax.fit` as trees of numbers beside ``model.params``.

    Keras counts the regularizers of trainable weights only, and so does this.
    """
    found = {entry.path: factors_of(entry.regularizer) for entry in model.table.trainable}
    by_name = {
        name: {path: getattr(each, name, 0.0) for path, each in found.items()}
        for name in Factors._fields
    }
    orthogonal = {entry.path: orthogonal_of(entry.regularizer) for entry in model.table.trainable}
    for by_columns, name in enumerate(("orthogonal_rows", "orthogonal_columns")):
        by_name[name] = {
            path: asked.factor if asked is not None and asked.by_columns == by_columns else 0.0
            for path, asked in orthogonal.items()
        }
    return {name: nest(each) for name, each in by_name.items() if any(each.values())}


def limits(model: FlaxModel) -> dict[str, PyTree] | None:
    """What the constraints allow, as a tree of :class:`Limits` beside ``model.params``; None
    without any constraint.
    """
    found: dict[tuple[str, ...], Limits] = {
        entry.path: limits_of(entry.constraint, entry.shape) or Limits()
        for entry in model.table.trainable
    }
    return nest(found) if any(allowed != Limits() for allowed in found.values()) else None


def check_served(model: FlaxModel) -> None:
    """Raises :class:`ConversionError` naming all regularizers and constraints that are not
    served.
    """
    faults = []
    for entry in model.table.trainable:
        if orthogonal_of(entry.regularizer) is not None:
            fault = orthogonal_fault(entry.regularizer, entry.shape)
            faults += [] if fault is None else [f"{entry.name}: {fault}"]
        elif factors_of(entry.regularizer) is None:
            faults.append(
                f"{entry.name}: regularizer {described(entry.regularizer, 'regularizers')}"
            )
        if limits_of(entry.constraint, entry.shape) is None:
            faults.append(f"{entry.name}: constraint {described(entry.constraint, 'constraints')}")
    for path, record in model.graph.records():
        faults += [f"{'/'.join(path)}: {fault}" for fault in _activity_faults(record)]
    faults += [
        f"{layer}: activity regularizer of a layer that is called more than once"
        for layer in _regularized_twice(model.graph)
    ]
    if faults:
        lines = "".join(f"\n  - {fault}" for fault in faults)
        raise ConversionError(
            "the model cannot be trained by Levenberg-Marquardt as it is, which serves the "
            "regularizers L1, L2, L1L2 and (of weights) OrthogonalRegularizer and the constraints "
            "NonNeg, UnitNorm, MaxNorm and MinMaxNorm with a rate between 0 and 1 along axes that "
            f"a weight has; build it without these:{lines}"
        )


def _activity_faults(record: LayerRecord) -> Iterator[str]:
    regularizer = record.activity_regularizer
    if regularizer is not None and factors_of(regularizer) is None:
        yield f"activity regularizer {described(regularizer, 'regularizers')}"
    elif regularizer is not None and record.key in _HANDED_ON:
        yield f"activity regularizer {described(regularizer, 'regularizers')} of inner layers"
    elif record.graph is None and any(map(_holds_activity_regularizer, record.config.values())):
        yield "activity regularizer of an inner layer"


def _regularized_twice(graph: LayerGraph) -> Iterator[str]:
    """Layers whose calls Keras counts differently: all of them on TensorFlow, the last one on
    JAX.
    """
    calls = Counter(node.layer for node in graph.nodes)
    for record in graph.layers:
        inner = {} if record.graph is None else record.graph.activity_regularizers()
        if calls[record.name] > 1 and (inner or record.activity_regularizer is not None):
            yield record.name
        elif record.graph is not None:
            yield from _regularized_twice(record.graph)


def _holds_activity_regularizer(value: Serialized) -> bool:
    if isinstance(value, Mapping):
        return value.get("activity_regularizer") is not None or any(
            map(_holds_activity_regularizer, value.values())
        )
    return isinstance(value, tuple) and any(map(_holds_activity_regularizer, value))
