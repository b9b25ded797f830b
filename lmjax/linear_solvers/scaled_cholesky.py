"""Cholesky factorisation after symmetric scaling to a unit diagonal (Jacobi's)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from lmjax.linear_solvers.small import SmallFactors, small_factor, small_solve
from lmjax.products import MAX_WRITTEN_OUT, diagonal


class ScaledFactors(NamedTuple):
    """L of the scaled matrix, and what its rows and columns were multiplied with, (n,)."""

    triangle: jax.Array | SmallFactors
    row_scale: jax.Array


def scaled_factor(matrix: jax.Array) -> ScaledFactors:
    """Factors ``matrix`` (n, n), symmetric; NaN where it is not positive definite in the precision at hand.

    The scaling makes the answer independent of the units of rows and columns and costs nothing beside the
    factorisation; by A. van der Sluis (Numer. Math. 14, 1969) it is within a factor n of the best diagonal one.
    """
    small = matrix.shape[0] <= MAX_WRITTEN_OUT
    row_scale = jax.lax.rsqrt(diagonal(matrix))
    scaled = matrix * row_scale[:, None] * row_scale[None, :]
    return ScaledFactors(small_factor(scaled) if small else cho_factor(scaled, lower=True)[0], row_scale)


def scaled_solve(factors: ScaledFactors, target: jax.Array) -> jax.Array:
    """x (n,) with matrix @ x = ``target``."""
    triangle, row_scale = factors
    scaled = row_scale * target
    solution = small_solve(triangle, scaled) if isinstance(triangle, SmallFactors) else cho_solve((triangle, True), scaled)
    return row_scale * solution


def pivots(factors: ScaledFactors) -> jax.Array:
    """The squared diagonal of L, (n,): at most one, and the least of them at least 1 / the condition of the scaled matrix."""
    if isinstance(factors.triangle, SmallFactors):
        return 1 / jnp.square(jnp.stack(factors.triangle.reciprocals))
    return jnp.square(jnp.diagonal(factors.triangle))
