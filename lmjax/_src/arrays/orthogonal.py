"""Least squares by orthogonal factorisation, whatever the units of the columns."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays import lapack
from lmjax._src.arrays.products import MAX_WRITTEN_OUT, product, products_with_first

#: What is left of a column beside the ones before it has to be longer than so many roundings of it.
_ROUNDINGS = 4


class Projection(NamedTuple):
    """The solution of min ‖matrix @ step - target‖ for P columns, and how it came about."""

    step: jax.Array  #: (P,)
    lengths: jax.Array  #: of the matrix' columns, (P,)
    #: The target along each column, after the part of the columns before it was taken away, (P,)
    shares: jax.Array
    #: what was left of each column then, as a fraction of its length; one for a column of zeros,
    #: (P,)
    pivots: jax.Array


def solve_columns(matrix: jax.Array, target: jax.Array) -> Projection:
    """min ‖matrix @ step - target‖ by QR.

    The answer is independent of the parameters' units: many columns are scaled to length one first,
    a few are projected one after the other, which no scaling changes. Columns of zeros get a step
    of zero. When the others do not have full rank the step is not finite or, for many columns, as
    long as the last bits of a column make it.

    Args:
        matrix: (m, P), also with m < P.
        target: (m,).
    """
    if matrix.shape[1] <= MAX_WRITTEN_OUT:
        return _solve_by_projections(matrix, target)
    stacked, lengths = _with_unit_columns(matrix)
    orthogonal, triangle = lapack.qr(stacked)
    rhs = product(target, orthogonal[: target.size])
    step = lapack.solve_triangle(triangle, rhs) / lengths
    return Projection(
        step,
        jnp.where(jnp.any(matrix != 0, axis=0), lengths, 0),
        rhs,
        jnp.abs(jnp.diagonal(triangle)),
    )


def inverse_root(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(B, R) of shape (P, P): B Bᵀ = (matrixᵀ matrix)⁻¹, and R is the triangle of ``matrix`` (m, P)
    with its columns scaled to length one.

    A column of zeros counts as a unit vector of its own. Where the columns do not have full rank B
    is not finite, or what the last bits of a column make it.
    """
    stacked, lengths = _with_unit_columns(matrix)
    if matrix.shape[1] <= MAX_WRITTEN_OUT:
        triangle = _triangle_by_projections(stacked)
        inverse = _inverse_by_substitution(triangle)
    else:
        triangle = lapack.qr_triangle(stacked)
        inverse = lapack.solve_triangle(triangle, jnp.eye(lengths.size, dtype=matrix.dtype))
    return inverse / lengths[:, None], triangle


def _with_unit_columns(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The matrix over one more row for each column, which only zero columns use: one shape for all
    cases; and what the columns were divided by.
    """
    # By the largest entry first: squares of long columns would overflow, those of short ones
    # vanish.
    matrix, largest = _with_largest_one(matrix, 0)
    lengths = jnp.linalg.norm(matrix, axis=0)
    zero = lengths == 0
    lengths = jnp.where(zero, 1, lengths)
    return jnp.concatenate([matrix / lengths, jnp.diag(zero.astype(matrix.dtype))]), largest[
        0
    ] * lengths


def _with_largest_one(array: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """``array`` divided by its largest absolute values along ``axis``, and those; ones where all is
    zero.
    """
    largest = jnp.max(jnp.abs(array), axis=axis, keepdims=True)
    largest = jnp.where(largest > 0, largest, 1)
    return array / largest, largest


def _factors(rows: jax.Array) -> jax.Array:
    """What brings each row's absolute values to a sum of one, or keeps their squares within the
    range of numbers; one for a row of zeros.

    Squares of long rows would overflow, those of short ones vanish. Sums by a product, and factors
    instead of quotients, since the largest entries and divisions by them take a tenth of the time
    of a small fit.
    """
    sums = product(jnp.abs(rows), jnp.ones(rows.shape[1], rows.dtype))
    least = 4 * float(jnp.finfo(rows.dtype).tiny)
    return 1 / jnp.where(sums > 0, jnp.clip(sums, least, 1 / least), 1)


def _triangle_by_projections(matrix: jax.Array) -> jax.Array:
    """R by modified Gram-Schmidt, as in :func:`_solve_by_projections` but for operations that have
    derivatives in every order.
    """
    rest, rows = matrix.T, []
    for k in range(matrix.shape[1]):
        length = jnp.sqrt(jnp.sum(rest[0] ** 2))
        unit = rest[0] / jnp.where(length == 0, 1, length)
        shares = jnp.sum(rest * unit, axis=1)
        rows.append(jnp.pad(shares, (k, 0)))
        rest = rest[1:] - shares[1:, None] * unit
    return jnp.stack(rows)


def _inverse_by_substitution(triangle: jax.Array) -> jax.Array:
    """The inverse of an upper triangle."""
    size = triangle.shape[0]
    unit = jnp.eye(size, dtype=triangle.dtype)
    rows: list[jax.Array] = []
    for i in reversed(range(size)):
        rows.insert(
            0,
            (unit[i] - sum(triangle[i, i + 1 + j] * row for j, row in enumerate(rows)))
            / triangle[i, i],
        )
    return jnp.stack(rows)


def _solve_by_projections(matrix: jax.Array, target: jax.Array) -> Projection:
    """:func:`solve_columns` by modified Gram-Schmidt on [matrix, target], which is as stable as
    Householder's QR.

    Source: Å. Björck, "Solving linear least squares problems by Gram-Schmidt orthogonalization",
    BIT 7, 1967.
    """
    size = matrix.shape[1]
    rest = jnp.concatenate([matrix.T, target[None]])
    factors = _factors(rest)
    rest *= factors[:, None]
    # Of the columns' lengths, from their parts.
    squares: list[jax.Array | float] = [0.0] * (size + 1)
    rounding = (_ROUNDINGS * jnp.finfo(matrix.dtype).eps) ** 2
    triangle: list[jax.Array] = []
    shares, pivots = [], []
    for k in range(size):
        products = products_with_first(rest)
        squares[k] += products[0]
        shares.append(products[-1] / jnp.sqrt(jnp.where(products[0] > 0, products[0], 1)))
        pivots.append(
            jnp.sqrt(
                jnp.where(squares[k] > 0, products[0] / jnp.where(squares[k] > 0, squares[k], 1), 1)
            )
        )
        dependent = (products[0] <= rounding * squares[k]) & (squares[k] > 0)
        # What is left of such a column is rounding, which would take a part out of the columns that
        # follow.
        part = jnp.where(
            dependent, 0, products[1:] / jnp.where(dependent | (squares[k] == 0), 1, products[0])
        )
        rest = rest[1:] - part[:, None] * rest[0]
        for j, share in enumerate(part, start=1):
            squares[k + j] += products[j] * share
        triangle.append(jnp.where(dependent, jnp.nan, part))
    step: list[jax.Array] = []
    for row in reversed(triangle):
        step.insert(0, row[-1] - sum(row[i] * value for i, value in enumerate(step)))
    columns, row = factors[:-1], factors[-1]
    lengths = jnp.sqrt(jnp.stack(squares[:size])) / columns
    scaled = jnp.stack(step)
    # The order in which nothing leaves the range.
    scaled = jnp.where(columns < 1, scaled / row * columns, scaled * columns / row)
    return Projection(scaled, lengths, jnp.stack(shares) / row, jnp.stack(pivots))
