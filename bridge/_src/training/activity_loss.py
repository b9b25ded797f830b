"""A loss with activity regularizers: the regularized outputs are further outputs of the model,
whose squares and absolute values are added.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.typing import Array, PyTree, Shape

#: How near to zero an output is for its absolute value to count as smooth, with outputs of the
#: order of one. Much nearer, curvatures become so large that the damping that suits them holds all
#: others.
NEAR = 1e-5


@dataclasses.dataclass(frozen=True)
class WithActivity:
    """``loss`` of the first numbers of a row, in the shape ``shape``, plus the sum of squares of
    the others, but of the last ``sizes`` the sum of absolute values.

    An absolute value has the curvature of the parabola that touches it on both sides of zero and
    lies above it elsewhere, 1/|a| (iteratively reweighted least squares: E. J. Schlossmacher,
    Journal of the American Statistical Association 68, 1973), with |a| at least ``near``, and
    within that distance of zero the slope of that parabola. The value is exact; outputs that
    belong at zero end within ``near`` of it.

    The outputs are those of :meth:`bridge.FlaxModel.with_activity`. As Keras divides an activity
    penalty by the batch size, the mean of the rows' losses is the loss that it reports. Weights of
    samples and of steps are those of ``loss`` alone: a row of them has a number for each step, and
    a last one for the activities.
    """

    loss: Loss
    shape: Shape  #: of the model's own outputs, without the batch axis
    sizes: int = 0
    near: float = NEAR  #: in the units of the ``sizes``, outputs times factors

    @property
    def takes_quantities(self) -> bool:
        """See :class:`lmjax.extend.Loss`."""
        return self.loss.takes_quantities

    def __getattr__(self, name: str) -> Any:
        """What not every loss has, of targets alone: the offset, and what counts over all rows."""
        if name not in ("offset", "counted", "leaves_out", "reduction", "weighted_offset"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        inner = getattr(self.loss, name)
        if name != "weighted_offset":
            return inner

        def of_own(targets: jax.Array, weights: jax.Array) -> jax.Array:
            own = weights[:-1].reshape(self.steps((1,)))
            if own.ndim:
                return jnp.asarray(inner(targets, own))
            return own * jnp.asarray(self.offset(targets))

        return of_own

    def _parts(self, outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        size = math.prod(self.shape)
        return outputs[:size].reshape(self.shape), outputs[size:]

    def _penalty(self, activity: jax.Array) -> jax.Array:
        squares, sizes = activity[: activity.size - self.sizes], activity[-self.sizes :]
        penalty = jnp.vdot(squares, squares)
        return penalty + jnp.sum(jnp.abs(sizes)) if self.sizes else penalty

    def _roots(self, activity: jax.Array) -> jax.Array:
        """Square roots of the curvature."""
        roots = jnp.sqrt(jnp.full_like(activity, 2))
        if not self.sizes:
            return roots
        sizes = jnp.maximum(jnp.abs(activity[-self.sizes :]), self.near)
        return roots.at[-self.sizes :].set(1 / jnp.sqrt(sizes))

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """See :class:`lmjax.extend.Loss`."""
        return self.loss.target_shape((outputs_shape[0], *self.shape))

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """See :class:`lmjax.extend.Loss`."""
        self.loss.prepare(targets, (outputs_shape[0], *self.shape))

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`lmjax.extend.Loss`."""
        own, activity = self._parts(outputs)
        return self.loss.value(own, targets) + self._penalty(activity)

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """H = 2 for activities that are squared."""
        own, activity = self._parts(outputs)
        first, second = self._parts(vector)
        return jnp.concatenate(
            [
                self.loss.root_product(own, targets, first).ravel(),
                self._roots(activity) * second,
            ]
        )

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The activities times roots of their curvature, behind those of the loss."""
        own, activity = self._parts(outputs)
        residuals = self.loss.pseudo_residuals(own, targets)
        return jnp.concatenate([residuals.ravel(), self._roots(activity) * activity])

    def steps(self, outputs_shape: Shape) -> Shape:
        """See :class:`lmjax.extend.ByStep`."""
        own = getattr(self.loss, "steps", None)
        return () if own is None else tuple(own((outputs_shape[0], *self.shape)))

    def parts(self, weights: Array) -> Array:
        """(N, steps + 1); the activities count as they are."""
        steps = self.steps((1,))
        spread = np.broadcast_to(
            weights.reshape(weights.shape + (1,) * (1 + len(steps) - weights.ndim)),
            (len(weights), *steps),
        )
        return np.concatenate(
            [spread.reshape(len(weights), -1), np.ones((len(weights), 1), weights.dtype)], axis=1
        )

    def weighted_value(
        self, outputs: jax.Array, targets: jax.Array, weights: jax.Array
    ) -> jax.Array:
        """See :class:`lmjax.extend.ByStep`."""
        own, activity = self._parts(outputs)
        of_own: Array = weights[:-1].reshape(self.steps((1,)))
        value: jax.Array = (
            self.loss.weighted_value(own, targets, of_own)  # type: ignore[attr-defined]
            if of_own.ndim
            else of_own * self.loss.value(own, targets)
        )
        return value + weights[-1] * self._penalty(activity)

    def spread(self, weights: jax.Array, outputs: jax.Array) -> jax.Array:
        """See :class:`lmjax.extend.ByStep`."""
        own, activity = self._parts(outputs)
        of_own: Array = weights[:-1].reshape(self.steps((1,)))
        of_own = self.loss.spread(of_own, own) if of_own.ndim else of_own  # type: ignore[attr-defined]
        return jnp.concatenate(
            [jnp.broadcast_to(of_own, own.shape).ravel(), jnp.full_like(activity, weights[-1])]
        )
