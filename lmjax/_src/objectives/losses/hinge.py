"""The hinge losses, of classifiers with a margin."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lmjax._src.objectives.losses.elementwise import Elementwise
from lmjax._src.objectives.losses.loss import Loss, sites
from lmjax._src.objectives.losses.step_weights import ByStep
from lmjax._src.typing import PyTree, Shape


def _check_labels(targets: PyTree, name: str) -> None:
    """Keras takes 0 and 1 for -1 and 1 where a batch has no other labels. That is the same for
    every batch unless there are zeros among other labels.
    """
    if targets.size and (targets == 0).any() and not ((targets == 0) | (targets == 1)).all():
        raise ValueError(
            f"y: {name} needs labels -1 and 1, or 0 and 1; got zeros among values from "
            f"{targets.min():g} to {targets.max():g}, which Keras takes for -1 or for 0, depending "
            "on what else is in a batch"
        )


def _signed(labels: jax.Array) -> jax.Array:
    return jnp.where(labels == 0, -1, labels)


def _of_margin(lacking: jax.Array) -> jax.Array:
    """The curvature of max(m, 0) at ``lacking`` = m: of the parabola that touches it at m and -m,
    and lies above it elsewhere, since it is (m + |m|)/2.
    """
    return 0.5 / jnp.maximum(jnp.abs(lacking), float(jnp.finfo(lacking.dtype).eps) ** 0.5)


@dataclasses.dataclass(frozen=True)
class Hinge(Elementwise):
    """The mean over the outputs of max(1 - label · output, 0), as ``keras.losses.Hinge``.

    Labels are -1 and 1; 0 and 1 are taken for those, as there. The curvature is that of the
    majorizing parabola (P. J. F. Groenen, G. Nalbantov, J. C. Bioch, "SVM-Maj", Advances in Data
    Analysis and Classification 2, 2008).

    Attributes:
        takes_quantities: True: integer targets are labels of -1, 0 or 1 as numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.Hinge()
        >>> float(loss.value(jnp.array([0.5, -2.0]), jnp.array([1.0, 0.0])))
        0.25
    """

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Labels are -1 and 1, or 0 and 1."""
        _check_labels(targets, "hinge")

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return jnp.maximum(1 - _signed(targets) * outputs, 0)

    def _curvature(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        labels = _signed(targets)
        return jnp.square(labels) * _of_margin(1 - labels * outputs)


@dataclasses.dataclass(frozen=True)
class SquaredHinge(Elementwise):
    """The mean over the outputs of max(1 - label · output, 0)², as ``keras.losses.SquaredHinge``.

    Labels are -1 and 1; 0 and 1 are taken for those, as there. The curvature is that of the squares
    which are not 0 (O. L. Mangasarian, Optimization Methods and Software 17, 2002).

    Attributes:
        takes_quantities: True: integer targets are labels of -1, 0 or 1 as numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.SquaredHinge()
        >>> float(loss.value(jnp.array([0.5, -2.0]), jnp.array([1.0, 0.0])))
        0.125
    """

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Labels are -1 and 1, or 0 and 1."""
        _check_labels(targets, "squared_hinge")

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return jnp.square(jnp.maximum(1 - _signed(targets) * outputs, 0))

    def _curvature(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        labels = _signed(targets)
        return jnp.where(1 - labels * outputs > 0, 2 * jnp.square(labels), 0)


@dataclasses.dataclass(frozen=True)
class CategoricalHinge(ByStep, Loss):
    """max(0, 1 + max((1 - y) z) - Σ y z) over the last axis of outputs z and targets y, averaged
    over any axes before it, as ``keras.losses.CategoricalHinge``.

    Targets are one-hot rows. The curvature is that of the majorizing parabola in the margin (see
    :class:`Hinge`), with the class held that comes next.

    Attributes:
        takes_quantities: True: integer targets are those of one-hot rows.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.CategoricalHinge()
        >>> float(loss.value(jnp.array([2.0, 1.5, 0.0]), jnp.array([1.0, 0.0, 0.0])))
        0.5
    """

    takes_quantities: ClassVar[bool] = True

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """As the outputs (one-hot rows)."""
        return outputs_shape

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Any finite number is a target."""

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return jnp.mean(jnp.maximum(_lacking(outputs, targets), 0))

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """√c a (a · vector)/‖a‖, with a the slope of the margin and c the curvature in it."""
        unit, length, root = self._along(outputs, targets)
        along = jnp.sum(unit * vector, axis=-1, keepdims=True)
        return root * length * unit * along * sites(outputs) ** -0.5

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The slope of the loss in the margin, over √c, along a."""
        unit, _, root = self._along(outputs, targets)
        slope = jax.grad(lambda m: jnp.sum(jnp.maximum(m, 0)))(_lacking(outputs, targets))
        return unit * slope[..., None] / root * sites(outputs) ** -0.5

    def _along(
        self, outputs: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """a/‖a‖, ‖a‖ and √c."""
        slope = jax.grad(lambda z: jnp.sum(_lacking(z, targets)))(outputs)
        length = jnp.sqrt(jnp.sum(jnp.square(slope), axis=-1, keepdims=True))
        root = jnp.sqrt(_of_margin(_lacking(outputs, targets)))[..., None]
        return slope / jnp.where(length > 0, length, 1), length, root


def _lacking(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """By how much the class lacks a margin of one to the next."""
    next_best = jnp.max((1 - targets) * outputs, axis=-1)
    return next_best - jnp.sum(targets * outputs, axis=-1) + 1
