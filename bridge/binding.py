"""Binds a Flax module to the weights of the Keras model it was built from: the weight table and the values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from bridge.errors import ConversionError
from bridge.graph import LayerGraph, LayerRecord
from bridge.keras_graph import KerasGraph
from bridge.layers.base import KerasLayer, Weight
from bridge.reading.config import is_serialized_layer, read_record
from bridge.weights import Path, WeightEntry, WeightTable

#: Names of weights whose options are named differently: ``kernel_regularizer`` governs ``kernel``, but
#: ``recurrent_regularizer`` governs ``recurrent_kernel``.
_KERNEL_SUFFIX = "_kernel"


class Stored(NamedTuple):
    """A weight where it is stored.

    ``options`` holds its regularizer and constraint when the place knows them better than the layer's config.
    """

    handle: Any
    shape: tuple[int, ...]
    dtype: str
    trainable: bool = True
    options: Mapping[str, Any] | None = None


class Source(Protocol):
    """Where the weights of a layer are: a live layer, or a group of a weights file."""

    trainable: bool

    def own(self, weights: Sequence[Weight], where: str) -> list[Stored]:
        """The layer's own weights, checked to be these and no others."""

    def child(self, attribute: str) -> Self:
        """The inner layer that the layer holds as ``attribute``."""

    def layer(self, record: LayerRecord) -> Self:
        """A layer of a model."""

    def read(self, stored: Stored) -> np.ndarray:
        """The values of a weight."""


class Bound(NamedTuple):
    """The weight table and the values, in the dtypes in which Keras stores them."""

    table: WeightTable
    values: dict[Path, np.ndarray]


def bind(graph: LayerGraph, module: KerasGraph, source: Source) -> Bound:
    """Reads the weights of ``module`` from ``source``.

    Raises:
        ConversionError: when a weight is missing, superfluous or stored twice.
    """
    entries: list[WeightEntry] = []
    values: dict[Path, np.ndarray] = {}
    seen: dict[Any, str] = {}
    for entry, stored, place in _graph_weights(graph, module, source, (), True):
        key = stored.handle if isinstance(stored.handle, str) else id(stored.handle)
        if key in seen:
            raise ConversionError(
                f"weight {entry.name} is the same variable as {seen[key]}; weights shared between models cannot be converted"
            )
        seen[key] = entry.name
        entries.append(entry)
        values[entry.path] = place.read(stored)
    return Bound(WeightTable(entries), values)


_Found = Iterator[tuple[WeightEntry, Stored, Source]]


def _graph_weights(graph: LayerGraph, module: KerasGraph, source: Source, path: Path, trainable: bool) -> _Found:
    layers = module.children()
    trainable = trainable and graph.trainable and source.trainable
    for record in graph.layers:
        yield from _layer_weights(record, layers[record.name], source.layer(record), (*path, record.name), trainable)


def _layer_weights(record: LayerRecord, module: KerasLayer, source: Source, path: Path, trainable: bool) -> _Found:
    trainable = trainable and record.trainable and source.trainable
    if isinstance(module, KerasGraph):
        if record.graph is None:
            raise ConversionError(f"layer {'/'.join(path)} holds a model that its configuration does not describe")
        yield from _graph_weights(record.graph, module, source, path, trainable)
        return
    weights = module.weights()
    for weight, stored in zip(weights, source.own(weights, "/".join(path)), strict=True):
        options = _options(weight.name, record.config) if stored.options is None else stored.options
        train = trainable and weight.trainable and stored.trainable
        place = (*path, weight.name)
        yield (
            WeightEntry(place, stored.shape, stored.dtype, train, options["regularizer"], options["constraint"], stored.handle),
            stored,
            source,
        )
    for attribute, child in module.children().items():
        yield from _layer_weights(_child_record(record, attribute), child, source.child(attribute), (*path, attribute), trainable)


def _child_record(record: LayerRecord, attribute: str) -> LayerRecord:
    """The record of an inner layer: its own config if the outer config holds one, else the outer layer's options."""
    serialized = record.config.get(attribute)
    if serialized is not None and is_serialized_layer(serialized):
        return read_record(serialized, attribute)
    return replace(record, name=attribute, graph=None)


def _options(weight: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Regularizer and constraint of a weight in a layer's config."""
    names = (weight, weight.removesuffix(_KERNEL_SUFFIX))
    return {
        option: next((value for name in names if (value := config.get(f"{name}_{option}")) is not None), None)
        for option in ("regularizer", "constraint")
    }
