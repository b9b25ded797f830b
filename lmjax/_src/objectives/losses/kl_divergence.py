"""The divergence of Kullback and Leibler."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lmjax._src.objectives.losses.loss import Loss, sites
from lmjax._src.objectives.losses.offset import Offset
from lmjax._src.objectives.losses.step_weights import ByStep
from lmjax._src.typing import PyTree, Shape

#: Keras' backend epsilon: probabilities are clipped to [ε, 1].
_EPSILON = 1e-7


@dataclasses.dataclass(frozen=True)
class KLDivergence(Offset, ByStep, Loss):
    """Σ y log(y/p) over the last axis, averaged over any axes before it, as
    ``keras.losses.KLDivergence``.

    Outputs p and targets y are probabilities, clipped to [1e-7, 1] as there, and not normalised:
    where they do not sum to one the loss may be negative. What is lowered is -Σ y log p, which is
    not. The curvature is the Fisher information 1/p (N. N. Schraudolph, Neural Computation 14,
    2002).

    Attributes:
        takes_quantities: True: integer targets are probabilities of 0 or 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.KLDivergence()
        >>> outputs, targets = jnp.array([0.5, 0.5]), jnp.array([0.25, 0.75])
        >>> round(float(loss.value(outputs, targets) + loss.offset(targets)), 4)
        0.1308
    """

    takes_quantities: ClassVar[bool] = True

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """As the outputs."""
        return outputs_shape

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Any number is a target: it is clipped."""

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return -jnp.mean(jnp.sum(_clipped(targets) * jnp.log(_clipped(outputs)), axis=-1))

    def offset(self, targets: jax.Array) -> jax.Array:
        """Σ y log y."""
        targets = _clipped(targets)
        return jnp.mean(jnp.sum(targets * jnp.log(targets), axis=-1))

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """The vector over √p."""
        return vector * jax.lax.rsqrt(_clipped(outputs) * sites(outputs))

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The gradient times √p; 0 where p is clipped."""
        gradient = jax.grad(self.value)(outputs, targets)
        return gradient * jnp.sqrt(_clipped(outputs) * sites(outputs))


def _clipped(probabilities: jax.Array) -> jax.Array:
    return jnp.clip(probabilities, _EPSILON, 1)
