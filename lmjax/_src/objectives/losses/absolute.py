"""Losses that grow as the absolute error: by iteratively reweighted least squares.

The curvature of such a loss f(e) in the error e is that of the parabola which touches it at e and
at -e and lies above it elsewhere, f'(e)/e: a majorizer wherever f'(√t)/√t falls (P. W. Holland,
R. E. Welsch, Communications in Statistics A6, 1977; K. Lange, MM Optimization Algorithms, 2016).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from lmjax._src.objectives.losses.elementwise import Elementwise

#: Keras' backend epsilon, below which it takes a target for this in percentages.
_EPSILON = 1e-7


def _distance(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """|e|, and no less than its own rounding: there the weight 1/|e| would be one of noise."""
    limits = jnp.finfo(outputs.dtype)
    size = jnp.maximum(jnp.abs(outputs), jnp.abs(targets))
    least = jnp.maximum(float(limits.eps) ** 0.5 * size, float(limits.tiny) ** 0.5)
    return jnp.maximum(jnp.abs(outputs - targets), least)


@dataclasses.dataclass(frozen=True)
class MeanAbsoluteError(Elementwise):
    """The mean over the outputs of |outputs - targets|, as ``keras.losses.MeanAbsoluteError``.

    The curvature is 1/|error| (iteratively reweighted least squares: E. J. Schlossmacher, Journal
    of the American Statistical Association 68, 1973). The error that it is taken at is no less than
    √ε of the output or the target, with ε the precision.

    Attributes:
        takes_quantities: True: integer targets are quantities.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.MeanAbsoluteError()
        >>> float(loss.value(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0])))
        1.0
    """

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return jnp.abs(outputs - targets)

    def _curvature(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return 1 / _distance(outputs, targets)


@dataclasses.dataclass(frozen=True)
class MeanAbsolutePercentageError(Elementwise):
    """The mean over the outputs of 100 |outputs - targets| / |targets|, as
    ``keras.losses.MeanAbsolutePercentageError``; targets are taken for at least 1e-7 in size, as
    there, so that those of zero outweigh all others.

    The curvature is as that of :class:`MeanAbsoluteError`.

    Attributes:
        takes_quantities: True: integer targets are quantities.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.MeanAbsolutePercentageError()
        >>> float(loss.value(jnp.array([2.0, 3.0]), jnp.array([2.0, 4.0])))
        12.5
    """

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return jnp.abs(outputs - targets) * _percent(targets)

    def _curvature(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return _percent(targets) / _distance(outputs, targets)


def _percent(targets: jax.Array) -> jax.Array:
    return 100 / jnp.maximum(jnp.abs(targets), _EPSILON)


@dataclasses.dataclass(frozen=True)
class Huber(Elementwise):
    """The mean over the outputs of ½e² up to an error e of ``delta`` and delta (|e| - ½ delta)
    beyond, as ``keras.losses.Huber``.

    The curvature is 1 in the middle and delta/|e| beyond, by iteratively reweighted least squares
    (P. J. Huber, Robust Statistics, 1981, section 7.8).

    Attributes:
        delta: the error at which the loss leaves the square, a positive number.
        takes_quantities: True: integer targets are quantities.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.Huber(delta=2.0)
        >>> float(loss.value(jnp.array([1.0, 5.0]), jnp.array([0.0, 0.0])))
        4.25
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        """Raises a ValueError for a ``delta`` that is not positive."""
        if not self.delta > 0:
            raise ValueError(f"delta: expected a positive number, got {self.delta!r}")

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        error = jnp.abs(outputs - targets)
        return jnp.where(
            error <= self.delta, 0.5 * jnp.square(error), self.delta * (error - 0.5 * self.delta)
        )

    def _curvature(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return self.delta / jnp.maximum(jnp.abs(outputs - targets), self.delta)


@dataclasses.dataclass(frozen=True)
class LogCosh(Elementwise):
    """The mean over the outputs of log cosh(outputs - targets), as ``keras.losses.LogCosh``.

    The curvature is tanh(e)/e for an error e, by iteratively reweighted least squares.

    Attributes:
        takes_quantities: True: integer targets are quantities.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.LogCosh()
        >>> round(float(loss.value(jnp.array([0.0, 2.0]), jnp.array([0.0, 0.0]))), 4)
        0.6625
    """

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        error = jnp.abs(outputs - targets)
        near = jnp.minimum(error, 1)  # where the other formula takes the difference of equals
        return jnp.where(
            error < 1,
            jnp.log1p(2 * jnp.square(jnp.sinh(near / 2))),
            error + jnp.log1p(jnp.exp(-2 * error)) - jnp.log(2.0),
        )

    def _curvature(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        error = jnp.abs(outputs - targets)
        apart = error > float(jnp.finfo(error.dtype).eps)
        return jnp.where(apart, jnp.tanh(error) / jnp.where(apart, error, 1), 1)
