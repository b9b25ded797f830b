"""The dual form of the Gauss-Newton matrix, put together from one matrix for each parameter array."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax.flattening import Structure


class LayerwiseDual(NamedTuple):
    """A :class:`~lmjax.curvature.Dual` of J_leaf J_leafᵀ, (m, m), for every array of the parameters; J itself is not formed.

    Weights, and so the scaling D, must be the same throughout an array; :func:`leafwise_diagonal` sees to that for
    all scalings that look at diag(JᵀJ) entry by entry.
    """

    grams: Sequence[jax.Array | None]  #: None: no influence
    structure: Structure
    push: Callable[[jax.Array], jax.Array]  #: J v, shape (m,)
    pull: Callable[[jax.Array], jax.Array]  #: Jᵀ u, shape (P,)
    ridge: jax.Array | None = None  #: see :class:`~lmjax.curvature.Dual`; the same throughout an array

    def product(self, vector: jax.Array) -> jax.Array:
        """See :class:`~lmjax.curvature.Curvature`."""
        product = self.pull(self.push(vector))
        return product if self.ridge is None else product + self.ridge * vector

    def restrict(self, free: jax.Array) -> LayerwiseDual:
        """Not served: entries of one array would differ."""
        raise NotImplementedError("bounds need linear_solver=Cholesky() or QR(); the layerwise dual form has one weight for each array")

    def gram(self, weights: jax.Array) -> jax.Array:
        """See :class:`~lmjax.curvature.Dual`."""
        starts = itertools.accumulate((math.prod(shape) for shape in self.structure.shapes[:-1]), initial=0)
        weighted = [weights[start] * gram for start, gram in zip(starts, self.grams, strict=True) if gram is not None]
        return functools.reduce(operator.add, weighted)


def leafwise_diagonal(grams: Sequence[jax.Array | None], structure: Structure, dtype: jnp.dtype) -> jax.Array:
    """diag(JᵀJ), shape (P,), averaged over each array: tr(J_leaf J_leafᵀ) over its size."""
    sums = [jnp.zeros((), dtype) if gram is None else jnp.trace(gram) for gram in grams]
    return structure.flatten(
        [jnp.full(shape, total / max(math.prod(shape), 1)) for total, shape in zip(sums, structure.shapes, strict=True)]
    )
