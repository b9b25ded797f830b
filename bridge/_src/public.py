"""All that ``import bridge`` and ``import lmjax.keras`` offer; ``bridge`` takes it from here when
it is first asked for a name.
"""

from bridge._src.comparison.compare import compare
from bridge._src.comparison.comparison import Comparison
from bridge._src.conversion.convert import from_keras
from bridge._src.conversion.packing import pack, unpack
from bridge._src.conversion.save import save
from bridge._src.conversion.saved_model import export
from bridge._src.conversion.to_keras import to_keras
from bridge._src.conversion.verify import Verification, verify
from bridge._src.description.errors import ConversionError, LayerRefused, Refusal
from bridge._src.layers.keras_calls import run_in_keras
from bridge._src.layers.registry import register_converter, unregister_converter
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.fit import fit
from bridge._src.training.following.history import History
from bridge._src.training.trainer import Trainer

__all__ = [
    "Comparison",
    "ConversionError",
    "FlaxModel",
    "History",
    "LayerRefused",
    "Refusal",
    "Trainer",
    "Verification",
    "compare",
    "export",
    "fit",
    "from_keras",
    "pack",
    "register_converter",
    "run_in_keras",
    "save",
    "to_keras",
    "unpack",
    "unregister_converter",
    "verify",
]
