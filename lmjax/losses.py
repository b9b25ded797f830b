"""Losses for :func:`lmjax.fit`, by name or as objects with options; :class:`lmjax.extend.Loss` is
their protocol.
"""

from lmjax._src.objectives.losses.absolute import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
)
from lmjax._src.objectives.losses.cosine_similarity import CosineSimilarity
from lmjax._src.objectives.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from lmjax._src.objectives.losses.focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
)
from lmjax._src.objectives.losses.functions import Convex, Residuals
from lmjax._src.objectives.losses.hinge import CategoricalHinge, Hinge, SquaredHinge
from lmjax._src.objectives.losses.kl_divergence import KLDivergence
from lmjax._src.objectives.losses.mean_squared_error import (
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)
from lmjax._src.objectives.losses.named import find_loss
from lmjax._src.objectives.losses.poisson import Poisson
from lmjax._src.objectives.losses.wrapped import AlongAxis, Reduced

__all__ = [
    "AlongAxis",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "Convex",
    "CosineSimilarity",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "Reduced",
    "Residuals",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "find_loss",
]
