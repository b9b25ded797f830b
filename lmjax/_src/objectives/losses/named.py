"""Losses by the names that Keras has for them."""

from __future__ import annotations

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
from lmjax._src.objectives.losses.hinge import CategoricalHinge, Hinge, SquaredHinge
from lmjax._src.objectives.losses.kl_divergence import KLDivergence
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.mean_squared_error import (
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)
from lmjax._src.objectives.losses.poisson import Poisson
from lmjax._src.runtime import contracts

#: Keras' names of the functions, each with the other names that it has there.
_NAMES: dict[tuple[str, ...], Loss] = {
    ("mean_squared_error", "mse"): MeanSquaredError(),
    ("mean_absolute_error", "mae"): MeanAbsoluteError(),
    ("mean_absolute_percentage_error", "mape"): MeanAbsolutePercentageError(),
    ("mean_squared_logarithmic_error", "msle"): MeanSquaredLogarithmicError(),
    ("huber", "huber_loss"): Huber(),
    ("log_cosh", "logcosh"): LogCosh(),
    ("poisson",): Poisson(),
    ("kl_divergence", "kld", "kullback_leibler_divergence"): KLDivergence(),
    ("binary_crossentropy", "bce"): BinaryCrossentropy(),
    ("categorical_crossentropy",): CategoricalCrossentropy(),
    ("sparse_categorical_crossentropy",): SparseCategoricalCrossentropy(),
    ("binary_focal_crossentropy",): BinaryFocalCrossentropy(),
    ("categorical_focal_crossentropy",): CategoricalFocalCrossentropy(),
    ("cosine_similarity",): CosineSimilarity(),
    ("hinge",): Hinge(),
    ("squared_hinge",): SquaredHinge(),
    ("categorical_hinge",): CategoricalHinge(),
}
LOSSES: dict[str, Loss] = {name: loss for names, loss in _NAMES.items() for name in names}


def find_loss(loss: str | Loss) -> Loss:
    """The loss of a name, as :func:`lmjax.fit` looks it up.

    Args:
        loss: one of Keras' names, such as "mse", or an object as :class:`lmjax.extend.Loss`
            describes it, which is returned as it is.

    Returns:
        The loss object.

    Raises:
        ValueError: there is none of that name, or the object lacks something of
            :class:`lmjax.extend.Loss`.

    Example:
        >>> import lmjax
        >>> lmjax.losses.find_loss("mse")
        MeanSquaredError()
    """
    if not isinstance(loss, str):
        contracts.check(loss, Loss, "loss")
        return loss
    try:
        return LOSSES[loss.lower()]
    except KeyError:
        raise ValueError(
            f"loss: there is none of the name {loss!r}; there are "
            f"{', '.join(names[0] for names in _NAMES)}, and docs/losses.md says how to write "
            "one (lmjax.extend.Loss), or to make one of a function (lmjax.losses.Residuals, "
            "lmjax.losses.Convex)"
        ) from None
