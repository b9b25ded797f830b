"""Cholesky factorisation after symmetric scaling to a unit diagonal (Jacobi's)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays.lapack import cholesky, cholesky_solve
from lmjax._src.arrays.products import MAX_WRITTEN_OUT
from lmjax._src.linear_solvers.cholesky_factors import (
    SmallFactors,
    small_factor,
    small_pivots,
    small_solve,
)
from lmjax._src.runtime import precision
from lmjax._src.typing import DType


class ScaledFactors(NamedTuple):
    """L of the scaled matrix, and what its rows and columns were multiplied with, (n,)."""

    triangle: jax.Array
    row_scale: jax.Array


Factors = ScaledFactors | SmallFactors


def scaled_factor(matrix: jax.Array) -> Factors:
    """Factors ``matrix`` (n, n), symmetric; NaN where it is not positive definite in the precision
    at hand.

    The scaling makes the answer independent of the units of rows and columns and costs nothing
    beside the factorisation; by A. van der Sluis (Numer. Math. 14, 1969) it is within a factor n of
    the best diagonal one. Where the entries are written out it is left away: the rounding is the
    same without (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section
    10.1), and each of its operations costs a batch of fits half a percent.
    """
    with precision.kept(matrix.dtype):
        if matrix.shape[0] <= MAX_WRITTEN_OUT:
            return small_factor(matrix)
        row_scale = jax.lax.rsqrt(jnp.diagonal(matrix))
        return ScaledFactors(cholesky(matrix * row_scale[:, None] * row_scale[None, :]), row_scale)


def scaled_solve(factors: Factors, target: jax.Array) -> jax.Array:
    """x (n,) with matrix @ x = ``target``, in whose dtype it is."""
    dtype = _dtype(factors)
    with precision.kept(dtype):
        wide = target.astype(dtype)
        if isinstance(factors, SmallFactors):
            return small_solve(factors, wide).astype(target.dtype)
        return (
            factors.row_scale * cholesky_solve(factors.triangle, factors.row_scale * wide)
        ).astype(target.dtype)


def pivots(factors: Factors) -> jax.Array:
    """The squared diagonal of L of the scaled matrix, (n,): at most one, and the least of them at
    least 1 / its condition.
    """
    with precision.kept(_dtype(factors)):
        return (
            small_pivots(factors)
            if isinstance(factors, SmallFactors)
            else jnp.square(jnp.diagonal(factors.triangle))
        )


def _dtype(factors: Factors) -> DType:
    return (
        factors.reciprocals[0] if isinstance(factors, SmallFactors) else factors.row_scale
    ).dtype
