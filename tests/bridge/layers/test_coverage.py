"""Every layer class of the installed Keras is converted, or refused with a reason."""

from __future__ import annotations

import inspect

import keras
import pytest

import bridge._src.module.shipped  # noqa: F401  registers the converters
from bridge._src.description.errors import LayerRefused
from bridge._src.layers import registry

#: Bases and building blocks that no model holds as a layer.
NOT_LAYERS = {"Layer", "Wrapper"}


def _classes() -> set[str]:
    """Class names, not aliases such as MaxPool1D, of the layers that Keras exports."""
    exported = vars(keras.layers).values()
    return {
        item.__name__
        for item in exported
        if inspect.isclass(item) and issubclass(item, keras.layers.Layer)
    } - NOT_LAYERS


def test_every_keras_layer_is_accounted_for() -> None:
    known = set(registry.supported()) | set(registry.refused())
    assert not _classes() - known, (
        "new in this Keras: write a converter, or refuse it with a reason"
    )


def test_no_class_is_in_two_lists() -> None:
    assert not set(registry.supported()) & set(registry.refused())


@pytest.mark.parametrize("class_name", sorted(registry.refused()))
def test_a_refusal_says_why(class_name: str) -> None:
    with pytest.raises(LayerRefused, match=r"\w+ \w+ \w+"):
        registry.find(class_name)
