"""Layers inside layers: the module for a serialized Keras object in another layer's config."""

from __future__ import annotations

from collections.abc import Callable

from bridge._src.description.config import canonical, is_model, read_graph
from bridge._src.description.errors import ConversionError, LayerRefused
from bridge._src.description.graph import LayerGraph
from bridge._src.description.identity import key_of
from bridge._src.layers import registry
from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.typing import Config

_build_model: Callable[[LayerGraph], KerasLayer] | None = None


def builds_models(build: Callable[[LayerGraph], KerasLayer]) -> None:
    """Says how the module of a model inside a layer is made: by what stands above the layers and
    knows all of them.
    """
    global _build_model
    _build_model = build


def convert(serialized: Config) -> KerasLayer:
    """The module for ``{"class_name": …, "config": {…}, "registered_name": …}``.

    Raises :class:`bridge.LayerRefused` with the inner layer's class name in front of the reason.
    """
    class_name = serialized["class_name"]
    if is_model(serialized):
        return _convert_model(canonical(serialized))
    key = key_of(serialized)
    config = LayerConfig(serialized["config"])
    try:
        module = registry.find(key)(config)
        config.finish()
    except LayerRefused as refusal:
        raise LayerRefused(f"inner layer {class_name}: {refusal}") from None
    return module


def _convert_model(serialized: Config) -> KerasLayer:
    assert _build_model is not None, "module/build.py is not loaded"
    try:
        return _build_model(read_graph(serialized))
    except ConversionError as error:
        raise LayerRefused(f"inner model: {error}") from None
