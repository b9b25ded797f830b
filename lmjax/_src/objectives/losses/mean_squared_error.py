"""The mean squared error, of outputs and of their logarithms."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lmjax._src.objectives.losses.elementwise import Elementwise
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.step_weights import ByStep
from lmjax._src.typing import PyTree, Shape

#: Keras' backend epsilon, to which it lifts what is below before it takes logarithms.
_EPSILON = 1e-7


@dataclasses.dataclass(frozen=True)
class MeanSquaredError(ByStep, Loss):
    """The mean over the outputs of (outputs - targets)², as ``keras.losses.MeanSquaredError``.

    Levenberg-Marquardt lowers it as ½‖r‖² with r = √(2/O) (outputs - targets) for O outputs.

    Attributes:
        takes_quantities: True: integer targets are quantities.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.MeanSquaredError()
        >>> float(loss.value(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0])))
        2.0
    """

    takes_quantities: ClassVar[bool] = True

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """As the outputs."""
        return outputs_shape

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Any finite number is a target."""

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return jnp.mean(jnp.square(outputs - targets))

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """H = 2/O · 1 for O outputs."""
        return vector * (2 / outputs.size) ** 0.5

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """√(2/O) (outputs - targets)."""
        return self.root_product(outputs, targets, outputs - targets)


@dataclasses.dataclass(frozen=True)
class MeanSquaredLogarithmicError(Elementwise):
    """The mean over the outputs of (log(1 + outputs) - log(1 + targets))², as
    ``keras.losses.MeanSquaredLogarithmicError``.

    As there, outputs and targets below 1e-7 count as 1e-7, so that an output below it has no
    gradient; let the model end in softplus or exp where it should give no such outputs. The
    curvature is Gauss and Newton's.

    Attributes:
        takes_quantities: True: integer targets are quantities.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.MeanSquaredLogarithmicError()
        >>> round(float(loss.value(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0]))), 4)
        0.2402
    """

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return jnp.square(
            jnp.log1p(jnp.maximum(outputs, _EPSILON)) - jnp.log1p(jnp.maximum(targets, _EPSILON))
        )

    def _curvature(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        lifted = jnp.maximum(outputs, _EPSILON)
        return jnp.where(outputs >= _EPSILON, 2 / jnp.square(1 + lifted), 0)
