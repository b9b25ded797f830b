"""What a Keras model adds to its loss, and what it demands of its weights, beside the data."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

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
from bridge._src.module.renaming import to_numbers
from bridge._src.training.constraints import Limits, limits_of
from bridge._src.typing import Serialized
from lmjax._src.training.bayesian.request import Bayesian
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


def check_trainable(model: FlaxModel) -> None:
    """Raises ValueError where no weight of the model is to be trained."""
    if not model.table.trainable:
        raise ValueError(
            "model: none of its weights is trainable, so there is nothing to fit; set "
            "`trainable = True` on layers that have weights"
        )


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


def bayesian_of(given: Any, model: FlaxModel) -> Any:
    """What a caller gave as ``regularization``, for :func:`lmjax.fit`: groups under the names of
    layers are numbered as its parameters are.

    Raises:
        ValueError: the model has regularizers or constraints of its own, all of them named, or
            groups are not those of its layers.
    """
    if given is None:
        return None
    faults = [
        f"{entry.name}: {kind} {described(value, kind + 's')}"
        for entry in model.table.trainable
        for kind, value in (("regularizer", entry.regularizer), ("constraint", entry.constraint))
        if value is not None
    ]
    faults += [
        f"{name}: activity regularizer {described(value, 'regularizers')}"
        for name, value in model.graph.activity_regularizers().items()
    ]
    if faults:
        lines = "".join(f"\n  - {fault}" for fault in faults)
        raise ValueError(
            "regularization: 'bayesian' finds squares of all weights by itself, and its posterior "
            f"knows no others and no limits; build the model without these:{lines}"
        )
    if not isinstance(given, Bayesian) or not isinstance(given.groups, Mapping):
        return given
    _check_groups(given.groups, model.params, ())
    return dataclasses.replace(given, groups=to_numbers(given.groups, model.module))


def _check_groups(groups: Any, params: PyTree, path: tuple[str, ...]) -> None:
    """Raises ValueError where the names are others than those of ``params``."""
    if not isinstance(groups, Mapping):
        return
    wanted = list(params) if isinstance(params, Mapping) else []
    if set(groups) != set(wanted):
        at = f"groups[{']['.join(map(repr, path))}]" if path else "groups"
        raise ValueError(
            f"{at}: expected whole numbers for {wanted or 'an array'}, as in the `params` of "
            f"bridge.from_keras(model), got them for {list(groups)}"
        )
    for name, value in groups.items():
        _check_groups(value, params[name], (*path, name))


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
