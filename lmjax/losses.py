"""Losses for :func:`lmjax.fit`, by name or as objects with options; :class:`lmjax.extend.Loss` is
their protocol.
"""

from lmjax._src.objectives.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
    find_loss,
)

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "find_loss",
]
