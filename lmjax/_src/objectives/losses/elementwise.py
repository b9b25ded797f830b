"""Losses that are the mean over the outputs of a function of one output and its target."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import jax
import jax.numpy as jnp

from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.step_weights import ByStep
from lmjax._src.typing import PyTree, Shape


class Elementwise(ByStep, Loss):
    """The mean of :meth:`_loss` over the outputs; S is diagonal."""

    takes_quantities: ClassVar[bool] = True

    @abstractmethod
    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The loss of each output, at least 0."""

    @abstractmethod
    def _curvature(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The curvature of each output's loss, at least 0, and above 0 where its slope is not 0."""

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """As the outputs."""
        return outputs_shape

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Any finite number is a target."""

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return jnp.mean(self._loss(outputs, targets))

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """The roots of the outputs' curvatures over their number, times the vector."""
        return vector * jnp.sqrt(self._curvature(outputs, targets) / outputs.size)

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The slope of each output's loss over the root of its curvature; 0 where it has none."""
        slope = jax.grad(lambda z: jnp.sum(self._loss(z, targets)))(outputs)
        curvature = self._curvature(outputs, targets) * outputs.size
        curved = curvature > 0
        return jnp.where(curved, slope * jax.lax.rsqrt(jnp.where(curved, curvature, 1)), 0)
