"""Binds a Flax module to the weights of the Keras model it was built from: the weight table and the
values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from bridge._src.description.config import is_serialized_layer, read_record, saved_names
from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerGraph, LayerRecord
from bridge._src.description.weights import Path, WeightEntry, WeightTable
from bridge._src.layers.base import KerasLayer, Weight
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.module.shapes import check_calls, check_shapes
from bridge._src.operations.operation_layers import Operation
from bridge._src.typing import Config, Variable

#: Names of weights whose options are named differently: ``kernel_regularizer`` governs ``kernel``,
#: but ``recurrent_regularizer`` governs ``recurrent_kernel``.
_KERNEL_SUFFIX = "_kernel"


class Stored(NamedTuple):
    """A weight where it is stored.

    ``options`` holds its regularizer and constraint when the place knows them better than the
    layer's config.
    """

    handle: Variable
    shape: tuple[int, ...]
    dtype: str
    trainable: bool = True
    options: Config | None = None


class Source(Protocol):
    """Where the weights of a layer are: a live layer, or a group of a weights file."""

    trainable: bool

    def own(self, weights: Sequence[Weight], where: str) -> list[Stored]:
        """The layer's own weights, checked to be these and no others."""

    def child(self, attribute: str) -> Self:
        """The inner layer that the layer holds as ``attribute`` (or ``_attribute``)."""

    def item(self, attribute: str, position: int, saved_name: str) -> Self:
        """The layer at ``position`` of the list that the layer holds as ``attribute``."""

    def layer(self, record: LayerRecord) -> Self:
        """A layer of a model."""

    def read(self, stored: Stored) -> np.ndarray:
        """The values of a weight."""


class Bound(NamedTuple):
    """The weight table, the values in the dtypes in which Keras stores them, and handles of weights
    stored once more.
    """

    table: WeightTable
    values: dict[Path, np.ndarray]
    aliases: tuple[Variable, ...]


class Found(NamedTuple):
    """The weights of a model where they are stored, before any value is read."""

    table: WeightTable
    places: tuple[tuple[Stored, Source], ...]  #: one for each entry of the table
    aliases: tuple[Variable, ...]


def bind(graph: LayerGraph, module: KerasGraph, source: Source) -> Bound:
    """Reads the weights of ``module`` from ``source``.

    Raises:
        ConversionError: when a weight is missing, superfluous, stored twice, or has another shape
            than the module declares.
    """
    found = find(graph, module, source)
    check_shapes(graph, module, found.table)
    values = {
        entry.path: place.read(stored)
        for entry, (stored, place) in zip(found.table, found.places, strict=True)
    }
    return Bound(found.table, values, found.aliases)


def find(graph: LayerGraph, module: KerasGraph, source: Source) -> Found:
    """Finds the weights of ``module`` in ``source``; raises as :func:`bind` does, but for their
    shapes.
    """
    check_calls(module)
    entries: list[WeightEntry] = []
    places: list[tuple[Stored, Source]] = []
    seen: dict[Any, str] = {}
    aliases = []
    for entry, stored, place in _graph_weights(graph, module, source, (), True):
        if entry is None:
            aliases.append(stored.handle)
            continue
        key = stored.handle if isinstance(stored.handle, str) else id(stored.handle)
        if key in seen:
            raise ConversionError(
                f"weight {entry.name} is the same variable as {seen[key]}; weights shared "
                "between models cannot be converted"
            )
        seen[key] = entry.name
        entries.append(entry)
        places.append((stored, place))
    return Found(WeightTable(entries), tuple(places), tuple(aliases))


#: Weights in Keras' order; no entry for an alias.
_Weights = Iterator[tuple[WeightEntry | None, Stored, Source]]


def _graph_weights(
    graph: LayerGraph, module: KerasGraph, source: Source, path: Path, trainable: bool
) -> _Weights:
    layers = module.children()
    trainable = trainable and graph.trainable and source.trainable
    for record in graph.layers:
        if isinstance(layers[record.name], Operation):
            continue
        yield from _layer_weights(
            record, layers[record.name], source.layer(record), (*path, record.name), trainable
        )


def _layer_weights(
    record: LayerRecord, module: KerasLayer, source: Source, path: Path, trainable: bool
) -> _Weights:
    trainable = trainable and record.trainable and source.trainable
    if isinstance(module, KerasGraph):
        if record.graph is None:
            raise ConversionError(
                f"layer {'/'.join(path)} holds a model that its configuration does not describe"
            )
        yield from _graph_weights(record.graph, module, source, path, trainable)
        return
    weights = module.weights()
    for weight, stored in zip(weights, source.own(weights, "/".join(path)), strict=True):
        if weight.alias:
            yield None, stored, source
            continue
        written = _options(weight.name, record.config)
        options = written if stored.options is None else stored.options
        train = trainable and weight.trainable and stored.trainable
        yield (
            WeightEntry(
                (*path, weight.name),
                stored.shape,
                stored.dtype,
                train,
                options["regularizer"],
                options["constraint"],
                stored.handle,
                # Keras draws the bias of an LSTM from its initializer and sets a part to one.
                None
                if record.config.get("unit_forget_bias") and weight.name == "bias"
                else written["initializer"],
            ),
            stored,
            source,
        )
    for name, child in module.children().items():
        place = module.position(name)
        if place is None:
            yield from _layer_weights(
                _child_record(record, name, module.config_names.get(name, name)),
                child,
                source.child(name),
                (*path, name),
                trainable,
            )
        else:
            inner = _item_record(record, *place)
            yield from _layer_weights(
                inner, child, source.item(*place, inner.saved_name), (*path, name), trainable
            )


def _child_record(record: LayerRecord, attribute: str, option: str) -> LayerRecord:
    """The record of an inner layer: its own config if the outer config holds one, else the outer
    layer's options.
    """
    serialized = record.config.get(option)
    if serialized is not None and is_serialized_layer(serialized):
        return read_record(serialized, attribute)
    return replace(record, name=attribute, graph=None)


def _item_record(record: LayerRecord, attribute: str, position: int) -> LayerRecord:
    """The record of a layer in a list of layers, all of which are serialized in the outer layer's
    config.
    """
    serialized = record.config[attribute]
    return read_record(
        serialized[position],
        saved_names([str(layer["class_name"]) for layer in serialized])[position],
    )


def _options(weight: str, config: Config) -> dict[str, Any]:
    """Regularizer, constraint and initializer of a weight in a layer's config."""
    names = (weight, weight.removesuffix(_KERNEL_SUFFIX))
    return {
        option: next(
            (value for name in names if (value := config.get(f"{name}_{option}")) is not None), None
        )
        for option in ("regularizer", "constraint", "initializer")
    }
