"""Losses by the names that Keras has for them."""

from __future__ import annotations

from lmjax._src.objectives.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.mean_squared_error import MeanSquaredError
from lmjax._src.runtime import contracts

LOSSES: dict[str, Loss] = {
    "mse": MeanSquaredError(),
    "mean_squared_error": MeanSquaredError(),
    "binary_crossentropy": BinaryCrossentropy(),
    "categorical_crossentropy": CategoricalCrossentropy(),
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy(),
}


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
            f"loss: Levenberg-Marquardt cannot serve {loss!r}; it needs a squared error "
            f"or a cross-entropy: {', '.join(sorted(LOSSES))}"
        ) from None
