"""Losses of the user's own for Keras, called as they are on Keras' JAX backend."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any, cast

import jax
import jax.numpy as jnp

from bridge._src.description.identity import described, package_of
from lmjax._src.objectives.losses.functions import Convex
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.over_all import MEANS
from lmjax._src.objectives.losses.wrapped import Reduced


@dataclasses.dataclass(frozen=True)
class KerasFunction:
    """A Keras loss as a function of the targets and outputs of one sample."""

    loss: Any  #: an object of a class of Keras' losses, or a function of (y_true, y_pred)

    @property
    def __name__(self) -> str:
        return described(self.loss, "losses")

    def __call__(self, targets: jax.Array, outputs: jax.Array) -> jax.Array:
        """The mean of what Keras gives for a batch of this sample.

        Raises:
            ValueError: it cannot be traced by JAX, or gives another number of losses.
        """
        call = getattr(self.loss, "call", self.loss)
        try:
            losses = jnp.asarray(call(targets[None], outputs[None]), outputs.dtype)
        except Exception as error:
            raise ValueError(
                f"loss: {self.__name__} cannot be called by JAX on arrays of one sample "
                f"({type(error).__name__}: {error}); write it in keras.ops or jax.numpy"
            ) from error
        return jnp.mean(losses)


def called_by_jax(loss: Any, refusal: ValueError) -> Loss:
    """``loss`` as a :class:`~lmjax.losses.Convex` of its values where Keras computes by JAX.

    Raises:
        ValueError: the ``refusal``, where it does not.
    """
    keras = sys.modules.get("keras")
    backend = getattr(getattr(keras, "backend", None), "backend", None)
    if isinstance(loss, type) and package_of(loss) == "keras":
        loss = loss()
    package = package_of(type(loss)) if hasattr(loss, "call") else "keras"
    if not callable(loss) or package != "keras" or not callable(backend) or backend() != "jax":
        raise refusal
    convex, reduction = Convex(KerasFunction(loss)), getattr(loss, "reduction", MEANS[0])
    if reduction in MEANS:
        return convex
    return cast("Loss", Reduced(convex, "none" if reduction is None else reduction))
