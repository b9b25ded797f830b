"""The crossentropies of Keras, from probabilities or from logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.objectives.losses.loss import Loss, sites
from lmjax._src.objectives.losses.step_weights import ByStep
from lmjax._src.typing import Array, PyTree, Shape

_EPSILON = 1e-7  #: Keras' backend epsilon: probabilities are clipped to [ε, 1 - ε]


def check_range(targets: PyTree, name: str) -> None:
    """Checks that targets are probabilities.

    Raises:
        ValueError: they are not; ``name`` is what the loss is called.
    """
    if targets.size and (targets.min() < 0 or targets.max() > 1):
        raise ValueError(
            f"y: {name} needs targets in [0, 1], got values from {targets.min():g} to "
            f"{targets.max():g}; for class indices use loss='sparse_categorical_crossentropy'"
        )


@dataclasses.dataclass(frozen=True)
class BinaryCrossentropy(ByStep, Loss):
    """The mean over the outputs of -y log p - (1 - y) log(1 - p), as
    ``keras.losses.BinaryCrossentropy``.

    The probability p is the output, or its sigmoid with ``from_logits``. Targets are in [0, 1], of
    the outputs' shape. The curvature is the Fisher information (N. N. Schraudolph, Neural
    Computation 14, 2002).

    In float32, in which Keras computes it, p is rounded: -log(1 - p) is off by up to 2.6 % just
    below the 1 - 1e-7 at which p is cut off, and by 1.1 % above. In float64, and from logits, it is
    not.

    Attributes:
        from_logits: whether the outputs are logits, from minus to plus infinity.
        label_smoothing: how far targets are moved towards one half, from 0 to 1.
        takes_quantities: True: integer targets are probabilities of 0 or 1.

    Example:
        The loss of a logit of zero, as ``lmjax.fit(loss=...)`` takes it.

        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.BinaryCrossentropy(from_logits=True)
        >>> round(float(loss.value(jnp.array([0.0]), jnp.array([1.0]))), 4)
        0.6931
    """

    takes_quantities: ClassVar[bool] = True
    from_logits: bool = False
    label_smoothing: float = 0.0

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """As the outputs."""
        return outputs_shape

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Targets are probabilities."""
        check_range(targets, "binary_crossentropy")

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        targets = targets * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.from_logits:
            return jnp.mean(jax.nn.softplus(outputs) - targets * outputs)
        probabilities = jnp.clip(outputs, _EPSILON, 1 - _EPSILON)
        return -jnp.mean(
            targets * jnp.log(probabilities) + (1 - targets) * jnp.log1p(-probabilities)
        )

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """The Fisher information: p(1 - p) in the logits, 1/(p(1 - p)) in the probabilities, over
        O.
        """
        return vector * self._root(outputs)

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """(p - y) / √(p(1 - p) O): Pearson's residuals."""
        return jax.grad(self.value)(outputs, targets) / self._root(outputs)

    def _root(self, outputs: jax.Array) -> jax.Array:
        """The diagonal of S."""
        return jnp.sqrt(binary_curvature(outputs, self.from_logits) / outputs.size)


def binary_curvature(outputs: jax.Array, from_logits: bool) -> jax.Array:
    """The Fisher information of each output of a binary cross-entropy."""
    if from_logits:
        probabilities = jax.nn.sigmoid(outputs)
        return _above_rounding(probabilities * (1 - probabilities))
    probabilities = jnp.clip(outputs, _EPSILON, 1 - _EPSILON)
    return 1 / (probabilities * (1 - probabilities))


@dataclasses.dataclass(frozen=True)
class CategoricalCrossentropy(ByStep, Loss):
    """-Σ y log p over the last axis, averaged over any axes before it, as
    ``keras.losses.CategoricalCrossentropy``.

    The probabilities p are the outputs, normalised as Keras does, or their softmax with
    ``from_logits``. Targets are one-hot rows or probabilities, of the outputs' shape. The curvature
    is the Fisher information (N. N. Schraudolph, Neural Computation 14, 2002).

    Attributes:
        from_logits: whether the outputs are logits.
        label_smoothing: how far targets are moved towards equal probabilities, from 0 to 1.
        takes_quantities: True: integer targets are probabilities of 0 or 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.CategoricalCrossentropy()
        >>> round(float(loss.value(jnp.array([0.5, 0.25, 0.25]), jnp.array([1.0, 0.0, 0.0]))), 4)
        0.6931
    """

    takes_quantities: ClassVar[bool] = True
    from_logits: bool = False
    label_smoothing: float = 0.0

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """As the outputs (one-hot rows, or probabilities)."""
        return outputs_shape

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Targets are probabilities."""
        check_range(targets, "categorical_crossentropy")

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return self._cross_entropy(logarithms_of(outputs, self.from_logits), targets)

    def _cross_entropy(self, logarithms: jax.Array, targets: jax.Array) -> jax.Array:
        targets = targets * (1 - self.label_smoothing) + self.label_smoothing / logarithms.shape[-1]
        return -jnp.mean(jnp.sum(targets * logarithms, axis=-1))

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """S of the Fisher information of a categorical distribution, over the number of sites
        before the class axis.

        In the logits S = diag(√p) - p√pᵀ. In the probabilities S = diag(1/√p), pulled back through
        the normalisation.
        """
        if self.from_logits:
            probabilities = jax.nn.softmax(outputs)
            root = jnp.sqrt(_above_rounding(probabilities))
            product = root * vector - probabilities * jnp.sum(root * vector, axis=-1, keepdims=True)
        else:
            probabilities, pull = jax.vjp(_normalized, outputs)
            (product,) = pull(vector * jax.lax.rsqrt(jnp.clip(probabilities, _EPSILON, 1)))
        return product * sites(outputs) ** -0.5

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """(p - y) / √(p · sites): Pearson's residuals, for targets that sum to one."""
        return categorical_residuals(
            outputs,
            self.from_logits,
            lambda logarithms: self._cross_entropy(logarithms, targets),
        )


def categorical_residuals(
    outputs: jax.Array, from_logits: bool, loss: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """Those by which the S of :class:`CategoricalCrossentropy` gives the gradient of ``loss``, a
    function of the logarithms of the probabilities.
    """
    if from_logits:
        root = jnp.sqrt(_above_rounding(jax.nn.softmax(outputs)))
        gradient = jax.grad(lambda z: loss(jax.nn.log_softmax(z)))(outputs)
        return gradient / root * sites(outputs) ** 0.5
    probabilities = _normalized(outputs)
    gradient = jax.grad(lambda p: loss(_clipped_log(p)))(probabilities)
    # S takes no notice of a constant: the normalisation's derivative is blind to it. This one takes
    # out the mean.
    centred = gradient - jnp.sum(probabilities * gradient, axis=-1, keepdims=True)
    return centred * jnp.sqrt(jnp.clip(probabilities, _EPSILON, 1)) * sites(outputs) ** 0.5


@dataclasses.dataclass(frozen=True)
class SparseCategoricalCrossentropy(ByStep, Loss):
    """-log p of the class that the target names by its index; otherwise as
    :class:`CategoricalCrossentropy`.

    Targets are whole numbers from 0 to the number of classes less one, of the outputs' shape
    without its last axis. With ``ignore_class`` targets of that number do not count: the mean is
    that over the others, of all rows.

    Attributes:
        from_logits: whether the outputs are logits.
        ignore_class: a whole number, which may lie outside of the classes; None for none.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> round(float(loss.value(jnp.array([0.0, 0.0, 0.0]), jnp.array(2))), 4)
        1.0986
    """

    from_logits: bool = False
    ignore_class: int | None = None

    @property
    def leaves_out(self) -> bool:
        """Whether there may be targets that do not count."""
        return self.ignore_class is not None

    def counted(self, targets: Array) -> Array:
        """Which targets count.

        Args:
            targets: class indices, of any shape.

        Returns:
            Of the same shape, True where a target counts.
        """
        return targets != (np.nan if self.ignore_class is None else self.ignore_class)

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """The outputs' without the class axis."""
        return outputs_shape[:-1]

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Targets are whole numbers in [0, classes)."""
        outside = (targets < 0) | (targets >= outputs_shape[-1]) | (targets % 1 != 0)
        wrong = np.argwhere(outside & self.counted(targets))
        if len(wrong):
            raise ValueError(
                "y: sparse_categorical_crossentropy needs whole class indices from 0 to "
                f"{outputs_shape[-1] - 1} (the model has {outputs_shape[-1]} outputs), got "
                f"{targets[tuple(wrong[0])]} in row {wrong[0, 0]}; {len(wrong)} of "
                f"{targets.size} are wrong, of values from {targets.min()} to {targets.max()}"
            )

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return self._dense.value(outputs, self._one_hot(outputs, targets))

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """As of :class:`CategoricalCrossentropy`; 0 where a target does not count."""
        if self.leaves_out:
            vector = vector * self.counted(targets)[..., None]
        return self._dense.root_product(outputs, targets, vector)

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """As of :class:`CategoricalCrossentropy`."""
        return self._dense.pseudo_residuals(outputs, self._one_hot(outputs, targets))

    @property
    def _dense(self) -> CategoricalCrossentropy:
        return CategoricalCrossentropy(self.from_logits)

    def _one_hot(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        chosen = jax.nn.one_hot(targets.astype(int), outputs.shape[-1], dtype=outputs.dtype)
        return chosen * self.counted(targets)[..., None] if self.leaves_out else chosen


def logarithms_of(outputs: jax.Array, from_logits: bool) -> jax.Array:
    """log p, of probabilities as Keras clips them."""
    return jax.nn.log_softmax(outputs) if from_logits else _clipped_log(_normalized(outputs))


def _clipped_log(probabilities: jax.Array) -> jax.Array:
    return jnp.log(jnp.clip(probabilities, _EPSILON, 1 - _EPSILON))


def _above_rounding(curvature: jax.Array) -> jax.Array:
    """At least ε²: a certain model has no curvature left, but pseudo-residuals are the gradient
    over its root.
    """
    return jnp.maximum(curvature, jnp.finfo(curvature.dtype).eps ** 2)


def _normalized(outputs: jax.Array) -> jax.Array:
    return outputs / jnp.sum(outputs, axis=-1, keepdims=True)
