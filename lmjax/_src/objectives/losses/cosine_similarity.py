"""The cosine of the angle between outputs and targets."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lmjax._src.objectives.losses.loss import Loss, sites
from lmjax._src.objectives.losses.offset import Offset
from lmjax._src.objectives.losses.step_weights import ByStep
from lmjax._src.typing import PyTree, Shape

#: Vectors shorter than this are divided by it (Keras' backend epsilon).
_SHORTEST = 1e-7


@dataclasses.dataclass(frozen=True)
class CosineSimilarity(Offset, ByStep, Loss):
    """Minus the cosine of the angle between outputs and targets over the last axis, averaged over
    any axes before it, as ``keras.losses.CosineSimilarity``: -1 where they have the same direction.

    What is lowered is half the squared distance of the two as vectors of length one, 1 plus the
    loss; the curvature is Gauss and Newton's of that. Vectors shorter than 1e-7 are divided by 1e-7
    in place of their length, as in Keras 3.

    Attributes:
        takes_quantities: True: integer targets are quantities.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.CosineSimilarity()
        >>> outputs, targets = jnp.array([1.0, 1.0]), jnp.array([0.0, 2.0])
        >>> round(float(loss.value(outputs, targets) + loss.offset(targets)), 4)
        -0.7071
    """

    takes_quantities: ClassVar[bool] = True

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """As the outputs."""
        return outputs_shape

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Any finite number is a target."""

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        ours, theirs = (one * _scale(one) for one in (outputs, targets))
        # An output shorter than the shortest length is no vector of length one.
        lacking = jnp.where(_is_short(outputs)[..., 0], 1 - jnp.sum(jnp.square(ours), axis=-1), 0)
        return 0.5 * jnp.mean(jnp.sum(jnp.square(ours - theirs), axis=-1) + lacking)

    def offset(self, targets: jax.Array) -> jax.Array:
        """-1 for targets that have a direction."""
        return -0.5 * jnp.mean(1 + jnp.sum(jnp.square(targets * _scale(targets)), axis=-1))

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """The vector without its part along the outputs, over their length."""
        scale = _scale(outputs)
        unit = jnp.where(_is_short(outputs), 0, outputs * scale)
        across = vector - unit * jnp.sum(unit * vector, axis=-1, keepdims=True)
        return across * scale * sites(outputs) ** -0.5

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The difference of the two as vectors of length one."""
        unit = jnp.where(_is_short(outputs), 0, outputs * _scale(outputs))
        return (unit - targets * _scale(targets)) * sites(outputs) ** -0.5


def _squares(vectors: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)


def _is_short(vectors: jax.Array) -> jax.Array:
    return _squares(vectors) <= _SHORTEST**2


def _scale(vectors: jax.Array) -> jax.Array:
    """One over the length."""
    return jax.lax.rsqrt(jnp.maximum(_squares(vectors), _SHORTEST**2))
