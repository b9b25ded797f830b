"""Keras layers that are refused on purpose, with the reason that the user reads."""

from __future__ import annotations

from bridge._src.layers.registry import refuse

_STRINGS = (
    "it maps strings, which have no derivative and no place in a JAX array; apply it to the "
    "data before the model"
)
_CUSTOM = (
    "its Python function is not in the config; replace it by a layer, or register a "
    "converter (bridge.register_converter)"
)
REASONS = {
    "Lambda": _CUSTOM,
    "MaxNumBoundingBoxes": (
        "it takes dictionaries of bounding boxes; apply it to the data before the model"
    ),
    "StringLookup": _STRINGS,
    "TFSMLayer": "a TensorFlow SavedModel has no layers to convert",
    "TextVectorization": _STRINGS,
    "TorchModuleWrapper": "it runs PyTorch",
}

for _class_name, _reason in REASONS.items():
    refuse(_class_name, _reason)
