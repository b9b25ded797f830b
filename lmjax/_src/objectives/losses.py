"""Losses that LM can lower: a value per sample, and a square root of its output curvature.

LM needs the curvature H of the loss in the model's outputs as H = S Sᵀ; the rows Sᵀ J then play the
part of the Jacobian. For squared errors this is Gauss-Newton, for cross-entropies the generalized
Gauss-Newton method (Schraudolph 2002), whose H is the Fisher information. Values follow Keras, so
that the reported loss is the one that ``model.evaluate`` gives.

A loss is a frozen dataclass; its functions see one sample: ``outputs`` and ``targets`` without the
batch axis.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.objectives.step_weights import ByStep
from lmjax._src.runtime import contracts
from lmjax._src.typing import PyTree, Shape

_EPSILON = 1e-7  #: Keras' backend epsilon: probabilities are clipped to [ε, 1 - ε]


class Loss(Protocol):
    """The loss of a sample and its curvature; implementations are frozen and hashable.

    One that has the methods of :class:`~lmjax.extend.ByStep`, too, takes weights of the steps of a
    row. But for :meth:`target_shape` and :meth:`prepare`, which see all rows before a fit, methods
    are pure and traced, of the dtype of the parameters, and see one sample without the batch axis.

    Example:
        Counts, whose logarithmic rates the model gives.

        >>> import dataclasses
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> @dataclasses.dataclass(frozen=True)
        ... class Poisson(lmjax.extend.Loss):
        ...     takes_quantities = True
        ...
        ...     def target_shape(self, outputs_shape):
        ...         return outputs_shape
        ...
        ...     def prepare(self, targets, outputs_shape):
        ...         if (targets < 0).any():
        ...             raise ValueError("y: counts are never negative")
        ...
        ...     def value(self, outputs, targets):
        ...         least = targets - jax.scipy.special.xlogy(targets, targets)
        ...         return jnp.mean(jnp.exp(outputs) - targets * outputs - least)
        ...
        ...     def root_product(self, outputs, targets, vector):
        ...         return vector * jnp.sqrt(jnp.exp(outputs) / outputs.size)
        ...
        ...     def pseudo_residuals(self, outputs, targets):
        ...         return (jnp.exp(outputs) - targets) / jnp.sqrt(jnp.exp(outputs) * outputs.size)
        >>> x, y = np.ones((3, 1)), np.array([[1], [2], [6]])
        >>> result = lmjax.fit(
        ...     lambda rate, x: rate * x, np.zeros(1), x, y, loss=Poisson(), epochs=20, verbose=0
        ... )
        >>> np.exp(result.params).round(6).tolist()
        [3.0]
    """

    @abstractmethod
    def target_shape(self, outputs_shape: Shape) -> Shape:
        """The shape that targets must have.

        Args:
            outputs_shape: the shape of the model's outputs, the batch axis included.

        Returns:
            The shape of the targets, the batch axis included.
        """

    @abstractmethod
    def prepare(self, targets: PyTree, outputs_shape: Shape) -> PyTree:
        """Checks the values of all targets before a fit.

        Args:
            targets: a NumPy array of the right shape, with all rows.
            outputs_shape: the shape of the model's outputs, the batch axis included.

        Returns:
            What it returns is not used.

        Raises:
            ValueError: the loss is not defined for a target.
        """

    @abstractmethod
    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The loss of one sample.

        Args:
            outputs: the model's outputs for the sample, without the batch axis.
            targets: the sample's targets.

        Returns:
            A scalar of at least 0: how small the whole is tells when a fit has converged.
        """

    @abstractmethod
    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """S times a vector, with S Sᵀ the curvature of :meth:`value` in the outputs.

        Args:
            outputs: the model's outputs for the sample, without the batch axis.
            targets: the sample's targets.
            vector: of the outputs' shape.

        Returns:
            S @ ``vector``, of the outputs' shape.
        """

    @abstractmethod
    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """What plays the part of the residuals.

        Args:
            outputs: the model's outputs for the sample, without the batch axis.
            targets: the sample's targets.

        Returns:
            r, of the outputs' shape, such that S r is the gradient of :meth:`value` in the outputs.
        """

    @property
    def takes_quantities(self) -> bool:
        """Whether integer targets are quantities, and come as floating-point numbers; a class
        attribute will do. If not, as here, they stay integers, as class indices have to.
        """
        return False


def _check_range(targets: PyTree, name: str) -> None:
    if targets.size and (targets.min() < 0 or targets.max() > 1):
        raise ValueError(
            f"y: {name} needs targets in [0, 1], got values from {targets.min():g} to "
            f"{targets.max():g}; for class indices use loss='sparse_categorical_crossentropy'"
        )


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
        _check_range(targets, "binary_crossentropy")

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
        if self.from_logits:
            probabilities = jax.nn.sigmoid(outputs)
            return jnp.sqrt(_above_rounding(probabilities * (1 - probabilities)) / outputs.size)
        probabilities = jnp.clip(outputs, _EPSILON, 1 - _EPSILON)
        return jax.lax.rsqrt(probabilities * (1 - probabilities) * outputs.size)


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
        _check_range(targets, "categorical_crossentropy")

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return self._cross_entropy(_logarithms(outputs, self.from_logits), targets)

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
        return product * _sites(outputs) ** -0.5

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """(p - y) / √(p · sites): Pearson's residuals, for targets that sum to one."""
        if self.from_logits:
            root = jnp.sqrt(_above_rounding(jax.nn.softmax(outputs)))
            return jax.grad(self.value)(outputs, targets) / root * _sites(outputs) ** 0.5
        probabilities = _normalized(outputs)
        gradient = jax.grad(lambda p: self._cross_entropy(_clipped_log(p), targets))(probabilities)
        # S takes no notice of a constant: the normalisation's derivative is blind to it. This one
        # takes out the mean.
        centred = gradient - jnp.sum(probabilities * gradient, axis=-1, keepdims=True)
        return centred * jnp.sqrt(jnp.clip(probabilities, _EPSILON, 1)) * _sites(outputs) ** 0.5


@dataclasses.dataclass(frozen=True)
class SparseCategoricalCrossentropy(ByStep, Loss):
    """-log p of the class that the target names by its index; otherwise as
    :class:`CategoricalCrossentropy`.

    Targets are whole numbers from 0 to the number of classes less one, of the outputs' shape
    without its last axis.

    Attributes:
        from_logits: whether the outputs are logits.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> round(float(loss.value(jnp.array([0.0, 0.0, 0.0]), jnp.array(2))), 4)
        1.0986
    """

    from_logits: bool = False

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """The outputs' without the class axis."""
        return outputs_shape[:-1]

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """Targets are whole numbers in [0, classes)."""
        if targets.size and (
            targets.min() < 0 or targets.max() >= outputs_shape[-1] or (targets % 1 != 0).any()
        ):
            wrong = np.argwhere((targets < 0) | (targets >= outputs_shape[-1]) | (targets % 1 != 0))
            raise ValueError(
                "y: sparse_categorical_crossentropy needs whole class indices from 0 to "
                f"{outputs_shape[-1] - 1} (the model has {outputs_shape[-1]} outputs), got "
                f"{targets[tuple(wrong[0])]} in row {wrong[0, 0]}; {len(wrong)} of "
                f"{targets.size} are wrong, of values from {targets.min()} to {targets.max()}"
            )

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`Loss`."""
        return self._dense.value(outputs, _one_hot(outputs, targets))

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """As of :class:`CategoricalCrossentropy`, where it does not depend on the targets."""
        return self._dense.root_product(outputs, targets, vector)

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """As of :class:`CategoricalCrossentropy`."""
        return self._dense.pseudo_residuals(outputs, _one_hot(outputs, targets))

    @property
    def _dense(self) -> CategoricalCrossentropy:
        return CategoricalCrossentropy(self.from_logits)


def _one_hot(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    return jax.nn.one_hot(targets.astype(int), outputs.shape[-1], dtype=outputs.dtype)


def _logarithms(outputs: jax.Array, from_logits: bool) -> jax.Array:
    return jax.nn.log_softmax(outputs) if from_logits else _clipped_log(_normalized(outputs))


def _clipped_log(probabilities: jax.Array) -> jax.Array:
    return jnp.log(jnp.clip(probabilities, _EPSILON, 1 - _EPSILON))


def _above_rounding(curvature: jax.Array) -> jax.Array:
    """At least ε²: a certain model has no curvature left, but pseudo-residuals are the gradient
    over its root.
    """
    return jnp.maximum(curvature, jnp.finfo(curvature.dtype).eps ** 2)


def _sites(outputs: jax.Array) -> int:
    """The number of class axes in one sample's outputs."""
    return max(outputs.size // outputs.shape[-1], 1)


def _normalized(outputs: jax.Array) -> jax.Array:
    return outputs / jnp.sum(outputs, axis=-1, keepdims=True)


LOSSES: dict[str, Loss] = {
    "mse": MeanSquaredError(),
    "mean_squared_error": MeanSquaredError(),
    "binary_crossentropy": BinaryCrossentropy(),
    "categorical_crossentropy": CategoricalCrossentropy(),
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy(),
}


def find_loss(loss: str | Loss) -> Loss:
    """The loss of a name, as :func:`lmjax.fit` looks it up.

    Args:
        loss: one of Keras' names, such as "mse", or an object as :class:`lmjax.extend.Loss`
            describes it, which is returned as it is.

    Returns:
        The loss object.

    Raises:
        ValueError: there is none of that name, or the object lacks something of
            :class:`lmjax.extend.Loss`.

    Example:
        >>> import lmjax
        >>> lmjax.losses.find_loss("mse")
        MeanSquaredError()
    """
    if not isinstance(loss, str):
        contracts.check(loss, Loss, "loss")
        return loss
    try:
        return LOSSES[loss.lower()]
    except KeyError:
        raise ValueError(
            f"loss: Levenberg-Marquardt cannot serve {loss!r}; it needs a squared error "
            f"or a cross-entropy: {', '.join(sorted(LOSSES))}"
        ) from None
