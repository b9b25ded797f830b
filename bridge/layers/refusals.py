"""Keras layers that are refused on purpose, with the reason that the user reads."""

from __future__ import annotations

from bridge.registry import refuse

_STRINGS = "it maps strings, which have no derivative and no place in a JAX array; apply it to the data before the model"
_INTEGERS = "it is not differentiable and its inputs are categories; apply it to the data before the model"
_CUSTOM = "its Python function is not in the config; replace it by a layer, or register a converter (bridge.register_converter)"

REASONS = {
    "AutoContrast": "it changes images by a rule that is not differentiable; apply it to the data before the model",
    "CategoryEncoding": _INTEGERS,
    "ContrastLimitedAdaptiveHistogramEqualization": "histogram equalization is not differentiable; apply it to the data before the model",
    "Discretization": _INTEGERS,
    "Equalization": "histogram equalization is not differentiable; apply it to the data before the model",
    "HashedCrossing": _INTEGERS,
    "Hashing": _INTEGERS,
    "IntegerLookup": _INTEGERS,
    "Lambda": _CUSTOM,
    "StringLookup": _STRINGS,
    "TFSMLayer": "a TensorFlow SavedModel has no layers to convert",
    "TextVectorization": _STRINGS,
    "TorchModuleWrapper": "it runs PyTorch",
}

for _class_name, _reason in REASONS.items():
    refuse(_class_name, _reason)
