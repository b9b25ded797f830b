"""The converters shipped with lmjax; importing this package registers them."""

from bridge.layers import (
    activation_layers,
    convolution,
    core,
    normalization,
    pooling,
    preprocessing,
    recurrent,
    refusals,
    regularization,
    reshaping,
)
from bridge.layers.base import KerasLayer, LayerConfig, Weight

__all__ = [
    "KerasLayer",
    "LayerConfig",
    "Weight",
    "activation_layers",
    "convolution",
    "core",
    "normalization",
    "pooling",
    "preprocessing",
    "recurrent",
    "refusals",
    "regularization",
    "reshaping",
]
