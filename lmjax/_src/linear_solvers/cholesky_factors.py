"""Cholesky factorisation of very small matrices, written out entry by entry (see
:data:`lmjax._src.arrays.products.MAX_WRITTEN_OUT`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class SmallFactors(NamedTuple):
    """L of matrix = L Lᵀ: its rows left of the diagonal, and the reciprocals of the diagonal; each
    entry a scalar.
    """

    rows: list[list[jax.Array]]
    reciprocals: list[jax.Array]


def small_factor(matrix: jax.Array) -> SmallFactors:
    """Factors ``matrix`` (P, P), of which the lower triangle is read; NaN where it is not positive
    definite.
    """
    rows: list[list[jax.Array]] = []
    reciprocals: list[jax.Array] = []
    for i in range(matrix.shape[0]):
        row: list[jax.Array] = []
        for j in range(i):
            row.append((matrix[i, j] - _dot(row, rows[j])) * reciprocals[j])
        rows.append(row)
        reciprocals.append(jax.lax.rsqrt(matrix[i, i] - _dot(row, row)))
    return SmallFactors(rows, reciprocals)


def small_solve(factors: SmallFactors, target: jax.Array) -> jax.Array:
    """x (P,) with L Lᵀ x = ``target``."""
    size = len(factors.rows)
    forward: list[jax.Array] = []
    for i, row in enumerate(factors.rows):
        forward.append((target[i] - _dot(row, forward)) * factors.reciprocals[i])
    x: list[jax.Array] = []
    for i in reversed(range(size)):
        column = [factors.rows[k][i] for k in range(i + 1, size)]
        x.insert(0, (forward[i] - _dot(column, x)) * factors.reciprocals[i])
    return jnp.stack(x)


def small_pivots(factors: SmallFactors) -> jax.Array:
    """The squared diagonal of L, (P,), as fractions of the matrix' diagonal."""
    rows = zip(factors.rows, factors.reciprocals, strict=True)
    return jnp.stack(
        [1 / (1 + reciprocal * reciprocal * _dot(row, row)) for row, reciprocal in rows]
    )


def _dot(left: list[jax.Array], right: list[jax.Array]) -> jax.Array | int:
    return sum(a * b for a, b in zip(left, right, strict=False))
