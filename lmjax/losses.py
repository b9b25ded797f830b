"""Losses for :func:`lmjax.fit`, by name or as objects with options; :class:`lmjax.extend.Loss` is
their protocol.
"""

from lmjax._src.objectives.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from lmjax._src.objectives.losses.mean_squared_error import MeanSquaredError
from lmjax._src.objectives.losses.named import find_loss

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "find_loss",
]
