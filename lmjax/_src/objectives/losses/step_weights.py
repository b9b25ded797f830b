"""Weights of the steps of a row: of sequences with a target at every step, of the pixels of an
image.

Weights of rows have shape (N,). Where the steps of a row have weights of their own, they have
further axes, which only the loss knows the meaning of; whatever else is done with the rows (chunks,
batches, samples) leaves those axes alone.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.typing import Array, NumpyArray, Shape


class ByStep:
    """What a loss offers beside :class:`lmjax.extend.Loss` to take weights of steps.

    These methods are right for one that is the mean, over the axes before the last, of its value
    for one step. The losses of :mod:`lmjax.losses` have them.

    Example:
        Weights of the steps of a sequence, of which the second one does not count.

        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> loss = lmjax.losses.MeanSquaredError()
        >>> isinstance(loss, lmjax.extend.ByStep)
        True
        >>> loss.steps((32, 2, 1))  # 32 rows of two steps with one output each
        (2,)
        >>> outputs, targets = jnp.array([[1.0], [7.0]]), jnp.array([[0.0], [0.0]])
        >>> float(loss.weighted_value(outputs, targets, weights=jnp.array([1.0, 0.0])))
        0.5
    """

    def steps(self, outputs_shape: Shape) -> Shape:
        """The axes that weights may have beside the batch axis.

        Args:
            outputs_shape: the shape of the outputs, the batch axis included.

        Returns:
            The sizes of these axes.
        """
        return outputs_shape[1:-1]

    def parts(self, weights: Array) -> Array:
        """Weights in the form in which the rows keep them.

        Args:
            weights: (N,) or (N, *steps), at least 0.

        Returns:
            An array with N rows; here ``weights``.
        """
        return weights

    def weighted_value(
        self, outputs: jax.Array, targets: jax.Array, weights: jax.Array
    ) -> jax.Array:
        """The loss of one sample with weights of its steps.

        Args:
            outputs: the model's outputs for the sample, without the batch axis.
            targets: the sample's targets.
            weights: the sample's row of :meth:`parts`.

        Returns:
            A scalar.
        """
        value = self.value  # type: ignore[attr-defined]
        for _ in range(weights.ndim):
            value = jax.vmap(value)
        return jnp.mean(value(outputs, targets) * weights)

    def spread(self, weights: jax.Array, outputs: jax.Array) -> jax.Array:
        """Weights of one sample in a shape that can be multiplied with its outputs.

        Args:
            weights: the sample's row of :meth:`parts`, or its square root.
            outputs: the model's outputs for the sample.

        Returns:
            An array that broadcasts to the shape of ``outputs``.
        """
        return weights[..., None]


def laid_out(weights: NumpyArray, loss: Any, outputs_shape: Shape, name: str) -> NumpyArray:
    """``weights`` in the form in which the rows keep them for ``loss``; without :class:`ByStep` it
    takes one for each row.

    Raises:
        ValueError: as :func:`spread`.
    """
    if not callable(getattr(loss, "steps", None)):
        return spread(weights, outputs_shape[:1], name)
    parts: NumpyArray = loss.parts(
        spread(weights, (outputs_shape[0], *loss.steps(outputs_shape)), name)
    )
    return parts


def spread(weights: NumpyArray, shape: Shape, name: str) -> NumpyArray:
    """``weights`` in ``shape``, (rows, *steps), or (rows,) where they are the same throughout every
    row by their shape.

    The first axes are given: (N,) for rows, (N, T) for steps; those that are missing behind them
    count as one for all. As in Keras a last axis of length one may be too many.

    Raises:
        ValueError: they have another shape; ``name`` is what they are called.
    """
    given = weights.shape
    if len(given) == len(shape) + 1 and given[-1] == 1:
        weights = weights[..., 0]
    if (
        not 0 < weights.ndim <= len(shape)
        or weights.shape[0] != shape[0]
        or any(
            size not in (1, whole)
            for size, whole in zip(weights.shape[1:], shape[1:], strict=False)
        )
    ):
        steps = f", or for each step, shape {shape}" if len(shape) > 1 else ""
        raise ValueError(
            f"{name}: expected one weight for each of the {shape[0]} rows, shape "
            f"({shape[0]},){steps}, got {given}"
        )
    if weights.size == shape[0]:
        return weights.reshape(shape[0])
    return np.broadcast_to(
        weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim)), shape
    )


def combined(weights: NumpyArray, given: NumpyArray, name: str) -> NumpyArray:
    """``weights``, of rows or steps, times those that were ``given``, of rows or steps, too.

    Raises:
        ValueError: they do not fit together; ``name`` is what the given ones are called.
    """
    whole = weights.shape + given.shape[weights.ndim :]
    factors = (weights, spread(given, whole, name))
    return np.multiply(
        *(factor.reshape(factor.shape + (1,) * (len(whole) - factor.ndim)) for factor in factors)
    )


def of_rows(weights: Array) -> Array:
    """The mean weight of each row, (N,)."""
    return weights.mean(axis=tuple(range(1, weights.ndim)))


def evened(weights: Array, mean: float) -> Array:
    """``weights`` of rows drawn by their mean weights, changed so that each row has the weight
    ``mean``.
    """
    return (
        np.full(len(weights), mean, weights.dtype)
        if weights.ndim == 1
        else times_rows(weights, mean / of_rows(weights))
    )


def times_rows(weights: Array, factors: Array) -> Array:
    """``weights`` times one factor for each row, (N,)."""
    return weights * factors.reshape(factors.shape + (1,) * (weights.ndim - 1))
