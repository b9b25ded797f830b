"""All that ``import bridge`` offers; the package takes it from here when it is first asked for something that is no module of it."""

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
