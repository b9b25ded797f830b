"""Poisson's loss, of counts."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from lmjax._src.objectives.losses.elementwise import Elementwise
from lmjax._src.objectives.losses.offset import Offset
from lmjax._src.typing import PyTree, Shape

#: Keras' backend epsilon, which it adds to the rates.
_EPSILON = 1e-7


@dataclasses.dataclass(frozen=True)
class Poisson(Offset, Elementwise):
    """The mean over the outputs of rate - count · log(rate), as ``keras.losses.Poisson``.

    Outputs are rates (not their logarithms), to which 1e-7 is added in the logarithm as there, so
    that they must be above -1e-7: let the model end in softplus or exp. What is lowered is half
    the deviance, which is 0 where rates are counts, and the reported loss is Keras'. The curvature
    is the Fisher information 1/rate (P. McCullagh, J. A. Nelder, Generalized Linear Models, 1989),
    the pseudo-residuals are Pearson's.

    Attributes:
        takes_quantities: True: integer targets are quantities.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.Poisson()
        >>> rates, counts = jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])
        >>> round(float(loss.value(rates, counts) + loss.offset(counts)), 4)
        0.1137
    """

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Targets are counts."""
        if targets.size and targets.min() < 0:
            raise ValueError(
                f"y: poisson needs counts of at least 0, got {targets.min():g}; below 0 the loss "
                "has no minimum"
            )

    def offset(self, targets: jax.Array) -> jax.Array:
        """The loss where the rates are the counts."""
        return jnp.mean(targets - xlogy(targets, targets) - _EPSILON)

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        rates = outputs + _EPSILON
        some = targets > 0
        above = (rates - targets) / jnp.where(some, targets, 1)
        return jnp.where(
            some, targets * (above - jnp.log1p(jnp.where(some, above, 0))), _defined(rates)
        )

    def _curvature(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return 1 / _defined(outputs + _EPSILON)


def _defined(rates: jax.Array) -> jax.Array:
    """Rates below 0 have no logarithm, with counts of 0 as well: Keras' loss is not a number."""
    return jnp.where(rates > 0, rates, jnp.nan)
