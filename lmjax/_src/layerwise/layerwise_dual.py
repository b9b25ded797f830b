"""The dual form of the Gauss-Newton matrix, put together from one matrix for each parameter
array.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.runtime import precision
from lmjax._src.typing import DType


class LayerwiseDual(NamedTuple):
    """A :class:`~lmjax._src.objectives.curvature.Dual` of J_array J_arrayᵀ, (m, m), for every array
    of the parameters; J itself is not formed.

    Its vectors are lists of arrays, and its diagonal matrices have one number for each of them.
    """

    grams: Sequence[jax.Array | None]  #: None: no influence
    push: Callable[[Vector], jax.Array]  #: J v, shape (m,)
    pull_all: Callable[[jax.Array], Vector]  #: Jᵀ u
    ridge: jax.Array | None = None  #: see :class:`~lmjax._src.objectives.curvature.Dual`

    def pull(self, covector: jax.Array, weights: jax.Array | None = None) -> Vector:
        """See :class:`~lmjax._src.objectives.curvature.Dual`; the weight of the largest array goes
        into ``covector``, which spares a pass over it.
        """
        if weights is None:
            return self.pull_all(covector)
        sizes = [shape.size for shape in jax.eval_shape(self.pull_all, covector)]
        largest = sizes.index(max(sizes))
        pulled = self.pull_all(weights[largest] * covector)
        return [
            leaf if index == largest else weights[index] / weights[largest] * leaf
            for index, leaf in enumerate(pulled)
        ]

    def product(self, vector: Vector) -> Vector:
        """See :class:`~lmjax._src.objectives.curvature.Curvature`."""
        product = self.pull(self.push(vector))
        return (
            product
            if self.ridge is None
            else vectors.add(product, vectors.multiply(self.ridge, vector))
        )

    def restrict(self, free: jax.Array) -> LayerwiseDual:
        """Not served: entries of one array would differ."""
        raise NotImplementedError(
            "bounds need linear_solver=Cholesky() or QR(); the layerwise dual form has "
            "one weight for each array"
        )

    def gram(self, weights: jax.Array) -> jax.Array:
        """See :class:`~lmjax._src.objectives.curvature.Dual`."""
        with precision.kept(self.dtype):
            factors = weights.astype(self.dtype)
            weighted = [
                factors[index] * gram for index, gram in enumerate(self.grams) if gram is not None
            ]
            return functools.reduce(operator.add, weighted)

    @property
    def dtype(self) -> DType:
        """In which squares of J's singular values are kept."""
        return next(gram.dtype for gram in self.grams if gram is not None)


def mean_diagonal(grams: Sequence[jax.Array | None], params: Vector) -> jax.Array:
    """diag(JᵀJ) averaged over each array: tr(J_array J_arrayᵀ) over its size."""
    dtype = vectors.dtype(params)

    def mean(gram: jax.Array | None, leaf: jax.Array) -> jax.Array:
        if gram is None:
            return jnp.zeros((), dtype)
        with precision.kept(gram.dtype):
            return (jnp.trace(gram) / max(leaf.size, 1)).astype(dtype)

    return jnp.stack([mean(gram, leaf) for gram, leaf in zip(grams, params, strict=True)])
