"""Names that mean something else in Keras 2."""

from __future__ import annotations

from bridge._src.typing import Serialized

_ACTIVATIONS = {"hard_sigmoid": "keras2_hard_sigmoid"}


def renamed_activation(value: Serialized) -> Serialized:
    """The name of an activation of Keras 2 in Keras 3; what is no name, as it is."""
    return _ACTIVATIONS.get(value, value) if isinstance(value, str) else value
