"""Cross-entropies of which what is classified well counts less: the focal losses.

Source: T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017. With u = -log p of the
right class the loss is φ(u) = (1 - p)^γ u. Its curvature is φ' times that of the cross-entropy u,
and φ'' times a matrix of rank one, the slopes of u. That matrix lies below the curvature of u times
(1 - p)/p; φ'' counts where it is above 0. So the curvature is that of u times :func:`_factor`: it
bounds the true one from above, is that for two classes, and never negative.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from lmjax._src.objectives.losses.crossentropy import (
    CategoricalCrossentropy,
    binary_curvature,
    categorical_residuals,
    check_range,
    logarithms_of,
)
from lmjax._src.objectives.losses.elementwise import Elementwise
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.step_weights import ByStep
from lmjax._src.typing import PyTree, Shape

#: Keras' backend epsilon: probabilities are clipped to [ε, 1 - ε].
_EPSILON = 1e-7
_LEAST, _MOST = math.log(_EPSILON), math.log1p(-_EPSILON)


def _clipped(probabilities: jax.Array) -> jax.Array:
    return jnp.clip(probabilities, _EPSILON, 1 - _EPSILON)


def _factor(probabilities: jax.Array, gamma: float) -> jax.Array:
    """φ' + φ''₊ (1 - p)/p, from 1 where p is 0 to (1 + γ)² (1 - p)^γ where it is nearly 1."""
    p = _clipped(probabilities)
    wrong, u = 1 - p, -jnp.log(p)
    less = gamma * wrong ** (gamma - 1) * u
    slope = wrong**gamma + p * less
    return slope + jnp.maximum(2 * gamma * wrong**gamma + less * (gamma * p - 1), 0)


@dataclasses.dataclass(frozen=True)
class BinaryFocalCrossentropy(Elementwise):
    """The mean over the outputs of (1 - p_y)^gamma times the binary cross-entropy, with p_y the
    probability of what is right, as ``keras.losses.BinaryFocalCrossentropy``.

    Targets are in [0, 1], of the outputs' shape. The curvature is that of the cross-entropy times
    what the factor makes of it, where that is convex.

    Attributes:
        apply_class_balancing: whether targets of 1 count ``alpha`` and those of 0 one less that.
        alpha: the weight of targets of 1.
        gamma: how much less counts what is classified well; 0 for the cross-entropy itself.
        from_logits: whether the outputs are logits.
        label_smoothing: how far targets are moved towards one half, from 0 to 1.
        takes_quantities: True: integer targets are probabilities of 0 or 1.

    Source: T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.BinaryFocalCrossentropy(from_logits=True)
        >>> round(float(loss.value(jnp.array([0.0]), jnp.array([1.0]))), 4)
        0.1733
    """

    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Targets are probabilities."""
        check_range(targets, "binary_focal_crossentropy")

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        p, targets, weights = self._parts(outputs, targets)
        cut = _clipped(p)
        crossentropy = -(targets * jnp.log(cut) + (1 - targets) * jnp.log1p(-cut))
        wrong = targets * (1 - p) + (1 - targets) * p
        # At 0 the slope of a root is infinite.
        wrong = jnp.maximum(wrong, float(jnp.finfo(p.dtype).tiny))
        return weights * wrong**self.gamma * crossentropy

    def _curvature(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        p, targets, weights = self._parts(outputs, targets)
        plain = binary_curvature(outputs, self.from_logits)
        factors = targets * _factor(p, self.gamma) + (1 - targets) * _factor(1 - p, self.gamma)
        return weights * factors * plain

    def _parts(
        self, outputs: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array | float]:
        """Probabilities, smoothed targets and their weights."""
        targets = targets * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        p = jax.nn.sigmoid(outputs) if self.from_logits else outputs
        balance = targets * self.alpha + (1 - targets) * (1 - self.alpha)
        return p, targets, balance if self.apply_class_balancing else 1.0


@dataclasses.dataclass(frozen=True)
class CategoricalFocalCrossentropy(ByStep, Loss):
    """-Σ alpha (1 - p)^gamma y log p over the last axis, averaged over any axes before it, as
    ``keras.losses.CategoricalFocalCrossentropy``.

    The probabilities p are the outputs, normalised as there, or their softmax with ``from_logits``.
    Targets are one-hot rows or probabilities, of the outputs' shape. The curvature is that of
    :class:`CategoricalCrossentropy` times what the factor makes of it, where that is convex.

    Attributes:
        alpha: a weight for all classes.
        gamma: how much less counts what is classified well.
        from_logits: whether the outputs are logits.
        label_smoothing: how far targets are moved towards equal probabilities, from 0 to 1.
        takes_quantities: True: integer targets are probabilities of 0 or 1.

    Source: T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.CategoricalFocalCrossentropy(alpha=1.0)
        >>> round(float(loss.value(jnp.array([0.5, 0.25, 0.25]), jnp.array([1.0, 0.0, 0.0]))), 4)
        0.1733
    """

    takes_quantities: ClassVar[bool] = True
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """As the outputs (one-hot rows, or probabilities)."""
        return outputs_shape

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Targets are probabilities."""
        check_range(targets, "categorical_focal_crossentropy")

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return self._of_logarithms(logarithms_of(outputs, self.from_logits), targets)

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """S of the cross-entropy times the root of the factor of each site."""
        return self._plain.root_product(outputs, targets, vector * self._root(outputs, targets))

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The residuals by which the cross-entropy would have this gradient, over that root."""
        residuals = categorical_residuals(
            outputs, self.from_logits, lambda logarithms: self._of_logarithms(logarithms, targets)
        )
        return residuals / self._root(outputs, targets)

    def _of_logarithms(self, logarithms: jax.Array, targets: jax.Array) -> jax.Array:
        logarithms = jnp.clip(logarithms, _LEAST, _MOST)
        terms = (-jnp.expm1(logarithms)) ** self.gamma * self._smoothed(targets) * logarithms
        return -self.alpha * jnp.mean(jnp.sum(terms, axis=-1))

    @property
    def _plain(self) -> CategoricalCrossentropy:
        return CategoricalCrossentropy(self.from_logits)

    def _probabilities(self, outputs: jax.Array) -> jax.Array:
        p = jax.nn.softmax(outputs) if self.from_logits else outputs
        return p / jnp.sum(p, axis=-1, keepdims=True)

    def _smoothed(self, targets: jax.Array) -> jax.Array:
        return targets * (1 - self.label_smoothing) + self.label_smoothing / targets.shape[-1]

    def _root(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        factors = _factor(self._probabilities(outputs), self.gamma)
        whole = jnp.sum(self._smoothed(targets) * factors, axis=-1, keepdims=True)
        least = float(jnp.finfo(outputs.dtype).eps) ** 2  # of targets that are all 0
        return jnp.sqrt(self.alpha * jnp.maximum(whole, least))
