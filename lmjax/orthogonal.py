"""Least squares by orthogonal factorisation of a column-scaled matrix."""

from __future__ import annotations

import jax
import jax.numpy as jnp

#: Up to this many columns modified Gram-Schmidt is written out, for the reasons given in ``linear_solvers.small``.
MAX_WRITTEN_OUT = 8


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
    size = matrix.shape[1]
    lengths = jnp.sqrt(jnp.sum(matrix * matrix, axis=0))
    scale = jnp.where(lengths == 0, 1, lengths)
    columns = [matrix[:, k] / scale[k] for k in range(size)] + [target]
    triangle: list[list[jax.Array]] = []
    for k in range(size):
        squared = jnp.sum(columns[k] * columns[k])
        pivot = jnp.where(lengths[k] == 0, 1, squared)
        row = [jnp.sum(columns[k] * column) / pivot for column in columns[k + 1 :]]
        columns[k + 1 :] = [column - columns[k] * part for column, part in zip(columns[k + 1 :], row, strict=True)]
        triangle.append(row)
    step: list[jax.Array] = []
    for row in reversed(triangle):
        step.insert(0, row[-1] - sum(part * value for part, value in zip(row[:-1], step, strict=True)))
    return jnp.stack(step) / scale, lengths
