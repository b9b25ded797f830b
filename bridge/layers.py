"""For layers of one's own: the module that a converter returns, and what it is given."""

from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.function_layer import FunctionLayer

__all__ = ["FunctionLayer", "KerasLayer", "LayerConfig", "Weight"]
