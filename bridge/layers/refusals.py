"""Keras layers that are refused on purpose, with the reason that the user reads."""

from __future__ import annotations

from bridge.registry import refuse

_STRINGS = "it maps strings, which have no derivative and no place in a JAX array; apply it to the data before the model"
_INTEGERS = "it is not differentiable and its inputs are categories; apply it to the data before the model"
_CUSTOM = "its Python function is not in the config; replace it by a layer, or register a converter (bridge.register_converter)"
_FOREIGN = (
    "its functions are not in the config, only Python code that would have to be run; register a converter (bridge.register_converter)"
)

REASONS = {
    "AutoContrast": "it changes images by a rule that is not differentiable; apply it to the data before the model",
    "ContrastLimitedAdaptiveHistogramEqualization": "histogram equalization is not differentiable; apply it to the data before the model",
    "Equalization": "histogram equalization is not differentiable; apply it to the data before the model",
    "FlaxLayer": _FOREIGN,
    "HashedCrossing": _INTEGERS,
    "Hashing": _INTEGERS,
    "IntegerLookup": _INTEGERS,
    "JaxLayer": _FOREIGN,
    "Lambda": _CUSTOM,
    "MaxNumBoundingBoxes": "it takes dictionaries of bounding boxes; apply it to the data before the model",
    "StringLookup": _STRINGS,
    "TFSMLayer": "a TensorFlow SavedModel has no layers to convert",
    "TextVectorization": _STRINGS,
    "TorchModuleWrapper": "it runs PyTorch",
}

for _class_name, _reason in REASONS.items():
    refuse(_class_name, _reason)
