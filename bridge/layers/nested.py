"""Layers inside layers: the module for a serialized Keras object in another layer's config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge import registry
from bridge.errors import ConversionError
from bridge.identity import key_of
from bridge.layers.base import KerasLayer, LayerConfig
from bridge.reading.config import canonical, is_model, read_graph


def convert(serialized: Mapping[str, Any]) -> KerasLayer:
    """The module for ``{"class_name": …, "config": {…}, "registered_name": …}``.

    Raises :class:`bridge.registry.LayerRefused` with the inner layer's class name in front of the reason.
    """
    class_name = serialized["class_name"]
    if is_model(serialized):
        return _convert_model(canonical(serialized))
    key = key_of(serialized)
    config = LayerConfig(serialized["config"])
    try:
        module = registry.find(key)(config)
        config.finish()
    except registry.LayerRefused as refusal:
        raise registry.LayerRefused(f"inner layer {class_name}: {refusal}") from None
    return module


def _convert_model(serialized: Mapping[str, Any]) -> KerasLayer:
    from bridge.build import build  # which itself needs the layers

    try:
        return build(read_graph(serialized))
    except ConversionError as error:
        raise registry.LayerRefused(f"inner model: {error}") from None
