"""Reading the HDF5 files that Keras calls legacy (``model.save("model.h5")``), without Keras.

The root holds ``model_config`` and ``training_config`` as JSON; ``model_weights`` holds a group for
each layer of the outermost model, whose attribute ``weight_names`` lists its datasets: trainable
weights first, then the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerGraph, LayerRecord
from bridge._src.description.weights import WeightEntry, WeightTable
from bridge._src.formats.description import Description, describe, parse
from bridge._src.formats.keras_hdf5 import (
    check_dataset,
    dataset_at,
    group_at,
    read_dataset,
    refusing,
    stored_dtype,
)
from bridge._src.formats.model_file import ModelFile
from bridge._src.hdf5.nodes import File, Group
from bridge._src.layers.base import Weight
from bridge._src.module.binding import Bound, Stored, find
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.module.shapes import check_shapes

_WEIGHTS = "model_weights"
#: The group of weights that belong to the model itself; models with a layer graph have none.
_MODELS_OWN = "top_level_model_weights"


class LegacyFile(ModelFile):
    """An HDF5 file with a model."""

    kind = ".h5"

    def __init__(self, path: Path, data: IO[bytes]) -> None:
        super().__init__(path, data)
        with self.refusing(path):
            self.root = File(data)

    @staticmethod
    def refusing(path: Path) -> AbstractContextManager[None]:
        """See :class:`~bridge._src.formats.model_file.ModelFile`."""
        return refusing(str(path))

    def describe(self) -> Description:
        """See :class:`~bridge._src.formats.model_file.ModelFile`."""
        with self.refusing(self.path):
            names = ("model_config", "training_config", "keras_version")
            config, training, version = map(self.root.attribute, names)
            if not isinstance(config, str):
                raise ConversionError(
                    "it holds no model_config, so weights only; give the model as well: "
                    "from_keras(model, weights=...)"
                )
        compiled = (
            parse(training, f"{self.path}: training_config") if isinstance(training, str) else None
        )
        return describe(
            parse(config, f"{self.path}: model_config"), compiled, str(version), str(self.path)
        )

    def bind(self, graph: LayerGraph, module: KerasGraph) -> Bound:
        """See :class:`~bridge._src.formats.model_file.ModelFile`."""
        with self.refusing(self.path):
            return bind_weights(self.root, graph, module, _WEIGHTS)


def is_legacy(file: File) -> bool:
    """Whether a file of weights has the layout that this module reads."""
    return not {"layer_names", "layer_names0"}.isdisjoint(file.attributes())


def bind_weights(file: File, graph: LayerGraph, module: KerasGraph, group: str = "") -> Bound:
    """The weights in the group ``group`` of an open file.

    Raises:
        ConversionError: when a layer is missing, or has weights of other number or name.
    """
    # A model that is frozen as a whole keeps the order of its layers' weights.
    planned = find(replace(graph, trainable=True), module, _Plan()).table
    by_layer: dict[str, list[WeightEntry]] = {}
    for entry in planned:
        by_layer.setdefault(entry.path[0], []).append(entry)
    stored = _stored_layers(file, group, list(by_layer))
    handles: dict[tuple[str, ...], str] = {}
    for name, entries in by_layer.items():
        ordered = [entry for entry in entries if entry.trainable] + [
            entry for entry in entries if not entry.trainable
        ]
        _check_names(name, [entry.path for entry in ordered], stored[name])
        handles |= {entry.path: handle for entry, handle in zip(ordered, stored[name], strict=True)}
    table = WeightTable(
        _located(file, entry, handles[entry.path], graph.trainable) for entry in planned
    )
    check_shapes(graph, module, table)
    return Bound(table, {entry.path: read_dataset(file, entry.handle) for entry in table}, ())


def _located(file: File, entry: WeightEntry, handle: str, trainable: bool) -> WeightEntry:
    dataset = dataset_at(file, handle)
    assert dataset is not None
    return replace(
        entry,
        shape=dataset.shape,
        dtype=stored_dtype(dataset),
        handle=handle,
        trainable=entry.trainable and trainable,
    )


def _stored_layers(file: File, group: str, expected: list[str]) -> dict[str, list[str]]:
    """Datasets of each layer that has weights, found by the layer's name, or by position as Keras
    does when names differ.
    """
    root = group_at(file, group)
    if root is None:
        raise ConversionError(f"it holds no group {group}")
    found = {name: _datasets(root, name) for name in [*_names(root, "layer_names"), _MODELS_OWN]}
    found = {name: datasets for name, datasets in found.items() if datasets}
    if len(found) != len(expected):
        raise ConversionError(
            f"it holds weights of {len(found)} layers {list(found)[:8]}, the model has "
            f"{len(expected)} {expected[:8]}"
        )
    return (
        found if set(found) == set(expected) else dict(zip(expected, found.values(), strict=True))
    )


def _datasets(root: Group, layer: str) -> list[str]:
    group = group_at(root, layer)
    if group is None:
        return []
    names = []
    for name in _names(group, "weight_names"):
        dataset = dataset_at(group, name)
        if dataset is None:
            raise ConversionError(
                f"layer {layer} lists weights {name!r}, which the file does not hold"
            )
        check_dataset(dataset, name)
        names.append(dataset.name)
    return names


def _names(group: Group, attribute: str) -> list[str]:
    """A list of names, which Keras cuts into ``attribute0``, ``attribute1``, … when it is long."""
    names = group.attribute(attribute)
    if names is None:
        names, part = [], 0
        while (more := group.attribute(f"{attribute}{part}")) is not None:
            names, part = [*names, *_listed(more, attribute)], part + 1
    return _listed(names, attribute)


def _listed(names: Any, attribute: str) -> list[str]:
    # An empty list is stored as an empty array of numbers.
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConversionError(f"its {attribute} are no list of names")
    return names


def _check_names(layer: str, paths: list[tuple[str, ...]], stored: list[str]) -> None:
    """The order depends on what is frozen, which the configuration does not always say; the names
    tell.
    """
    expected = [path[-1] for path in paths]
    found = [name.rsplit("/", 1)[-1].removesuffix(":0") for name in stored]
    if len(found) != len(expected):
        raise ConversionError(
            f"layer {layer} stores {len(found)} weights {found}, expected {len(expected)} "
            f"{expected}"
        )
    crossed = any(_is_crossed(path, name) for path, name in zip(paths, stored, strict=True))
    if crossed or (sorted(found) == sorted(expected) and found != expected):
        found = [name.split("/", 3)[-1] for name in stored]
        raise ConversionError(
            f"layer {layer} stores its weights in the order {found}, expected {expected}; "
            "save a .keras file instead"
        )


def _is_crossed(path: tuple[str, ...], stored: str) -> bool:
    """Whether the weights of one half of a Bidirectional layer bear the name of the other half."""
    halves = (("forward_layer", "/backward_"), ("backward_layer", "/forward_"))
    return any(half in path and other in stored for half, other in halves)


class _Plan:
    """A source without values: which weights there are, in Keras' order."""

    trainable = True

    def own(self, weights: Sequence[Weight], where: str) -> list[Stored]:
        """Place holders."""
        return [
            Stored(f"{where}/{weight.name}", (), "float32", weight.trainable) for weight in weights
        ]

    def child(self, attribute: str) -> Self:
        """The plan itself."""
        return self

    def item(self, attribute: str, position: int, saved_name: str) -> Self:
        """The plan itself."""
        return self

    def layer(self, record: LayerRecord) -> Self:
        """The plan itself."""
        return self

    def read(self, stored: Stored) -> np.ndarray:
        """Nothing yet."""
        return np.empty(0)
