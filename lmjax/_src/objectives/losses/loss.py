"""Losses that LM can lower: a value per sample, and a square root of its output curvature.

LM needs the curvature H of the loss in the model's outputs as H = S Sᵀ; the rows Sᵀ J then play the
part of the Jacobian. For squared errors this is Gauss-Newton, for cross-entropies the generalized
Gauss-Newton method (Schraudolph 2002), whose H is the Fisher information. Values follow Keras, so
that the reported loss is the one that ``model.evaluate`` gives.

A loss is a frozen dataclass; its functions see one sample: ``outputs`` and ``targets`` without the
batch axis.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

import jax

from lmjax._src.typing import PyTree, Shape


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


def sites(outputs: jax.Array) -> int:
    """The number of class axes in one sample's outputs."""
    return max(outputs.size // outputs.shape[-1], 1)
