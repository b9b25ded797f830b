"""Least squares by orthogonal factorisation of a column-scaled matrix."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lmjax.products import MAX_WRITTEN_OUT, products_with_first


def solve_columns(matrix: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The solution of min ‖matrix @ step - target‖ by QR, and the lengths of the matrix' columns.

    Columns are scaled to length one first, which makes the answer independent of the parameters' units. Columns of
    zeros get a step of zero. The step is not finite when the others do not have full rank.

    Args:
        matrix: (m, P); also with m < P, whose step is then not finite.
        target: (m,).
    """
    if matrix.shape[1] <= MAX_WRITTEN_OUT:
        return _solve_by_projections(matrix, target)
    triangle, orthogonal, lengths = factor_columns(matrix)
    rhs = jnp.matmul(target, orthogonal[: target.size], precision=jax.lax.Precision.HIGHEST)
    return jax.scipy.linalg.solve_triangular(triangle, rhs) / lengths, jnp.where(jnp.any(matrix != 0, axis=0), lengths, 0)


def factor_columns(matrix: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(R, Q, lengths) of the matrix with its columns scaled to length one; a zero column becomes a unit vector of its own."""
    lengths = jnp.linalg.norm(matrix, axis=0)
    zero = lengths == 0
    lengths = jnp.where(zero, 1, lengths)
    # One more row for each parameter, which only zero columns use: a matrix of one shape for all cases.
    stacked = jnp.concatenate([matrix / lengths, jnp.diag(zero.astype(matrix.dtype))])
    orthogonal, triangle = jnp.linalg.qr(stacked)
    return triangle, orthogonal, lengths


def _solve_by_projections(matrix: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """:func:`solve_columns` by modified Gram-Schmidt on [matrix, target], which is as stable as Householder's QR.

    Source: Å. Björck, "Solving linear least squares problems by Gram-Schmidt orthogonalization", BIT 7, 1967.
    """
    size, columns = matrix.shape[1], matrix.T
    lengths = jnp.sqrt(jnp.sum(columns * columns, axis=1))
    scale = jnp.where(lengths == 0, 1, lengths)
    rest = jnp.concatenate([columns / scale[:, None], target[None]])
    triangle: list[jax.Array] = []
    for k in range(size):
        products = products_with_first(rest)
        part = products[1:] / jnp.where(lengths[k] == 0, 1, products[0])
        rest = rest[1:] - part[:, None] * rest[0]
        triangle.append(part)
    step: list[jax.Array] = []
    for row in reversed(triangle):
        step.insert(0, row[-1] - sum(row[i] * value for i, value in enumerate(step)))
    return jnp.stack(step) / scale, lengths
