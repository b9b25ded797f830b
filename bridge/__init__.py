"""Keras models as pure Flax functions, and their trained parameters back into Keras."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge import layers
    from bridge.convert import from_keras
    from bridge.errors import ConversionError, Refusal
    from bridge.flax_model import FlaxModel
    from bridge.layers.keras_calls import run_in_keras
    from bridge.registry import LayerRefused, register_converter, unregister_converter
    from bridge.trainer import Trainer
    from bridge.training import History, fit
    from bridge.verification import Verification, verify
    from bridge.writing.files import save
    from bridge.writing.live import to_keras
    from bridge.writing.packing import pack, unpack
    from bridge.writing.saved_model import export

__all__ = [
    "ConversionError",
    "FlaxModel",
    "History",
    "LayerRefused",
    "Refusal",
    "Trainer",
    "Verification",
    "export",
    "fit",
    "from_keras",
    "layers",
    "pack",
    "register_converter",
    "run_in_keras",
    "save",
    "to_keras",
    "unpack",
    "unregister_converter",
    "verify",
]


def __getattr__(name: str) -> Any:
    # JAX and Flax take a second to load, in which nobody catches Ctrl-C for the command line; it imports them itself.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    public = import_module("bridge.public")
    globals().update({offered: getattr(public, offered) for offered in __all__})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
