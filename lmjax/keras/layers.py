"""For layers of one's own: the same objects as in ``bridge.layers``."""

from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.function_layer import FunctionLayer

__all__ = ["FunctionLayer", "KerasLayer", "LayerConfig", "Weight"]
