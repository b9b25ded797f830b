"""Functions of ``keras.ops`` whose options are arrays: Keras runs them and cannot describe them
(``ops.clip(x, low, high)``).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bridge._src.typing import KerasModel, LiveLayer


@contextmanager
def arrays_described(model: KerasModel) -> Iterator[None]:
    """Within it Keras describes such functions of a Functional model, those of inner models
    included; else it raises.
    """
    described = []
    for operation in _undescribed(model):
        options = _options(operation)
        if options is not None:
            saving = sys.modules["keras.src.saving.serialization_lib"]
            operation._auto_config = saving.SerializableDict(**options)
            described.append(operation)
    try:
        yield
    finally:
        for operation in described:
            operation._auto_config = None


def _undescribed(model: KerasModel) -> Iterator[LiveLayer]:
    """The functions in the graph of ``model`` that have no configuration."""
    for operation in getattr(model, "operations", ()):
        if (
            type(operation).__module__.startswith("keras.src.ops.")
            and getattr(operation, "_auto_config", operation) is None
        ):
            yield operation
    for layer in getattr(model, "layers", ()):
        if layer is not model:
            yield from _undescribed(layer)


def _options(operation: LiveLayer) -> dict[str, Any] | None:
    """What the constructor of ``operation`` got, which it holds under the same names; None if it
    does not.
    """
    names = [
        name
        for name in inspect.signature(type(operation).__init__).parameters
        if name not in ("self", "name")
    ]
    return (
        {name: getattr(operation, name) for name in names}
        if all(hasattr(operation, name) for name in names)
        else None
    )
