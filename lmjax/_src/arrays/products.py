"""The product that dominates a step: JᵀJ of a tall matrix."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from lmjax._src.runtime import control_flow, precision
from lmjax._src.typing import DType

#: From this many columns on, only the lower block triangle is computed, in this many block rows.
#: Measured on two cores (10 000 × 2 041): 354 against 428 ms in float32, 703 against 1 028 ms in
#: float64.
_WIDE, _BLOCKS = 512, 4

#: Up to so many multiplications the product is left to XLA:CPU as a sum: a call of its matrix
#: library in the body keeps it from compiling a loop as one function, in which an operation costs a
#: tenth of what it costs alone (a fit of two parameters on JAX 0.12: 33 against 80 µs).
_SMALL = 4096

#: Up to so many parameters operations are written out entry by entry. A LAPACK call costs more than
#: it computes there, and under ``vmap`` it is one call a lane; a sum is a call of its own where
#: additions are fused with what is around them.
MAX_WRITTEN_OUT = 8

#: Up to so many rows of it a fit in single precision sums and factorises JᵀJ, or J Jᵀ, in double,
#: on a CPU; in double such a matrix takes 128 MiB. The squares of J's singular values span twice
#: their decades: in single precision nothing below √ε = 3e-4 of the largest is left, though J
#: itself knows them to ε. Of a network with 61 weights that was trained on sinc(10x) half of them
#: are below. From five starts in single precision, such fits ended at 2e-7 to 1e-5 without and at
#: 1e-9 to 2e-8 with this.
MAX_IN_DOUBLE = 4096

#: Multiplications of sums that take some tens of microseconds even in double.
_AT_ONCE = 2**18

#: That of all products of ours: TF32 and its like would break the positive definiteness of JᵀJ.
HIGHEST = jax.lax.Precision.HIGHEST


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """``left @ right`` at the highest precision."""
    return jnp.matmul(left, right, precision=HIGHEST)


def dtype_of_sums(size: int, dtype: DTypeLike) -> DType:
    """In what a matrix (size, size) of sums of products in ``dtype`` is to be summed and
    factorised: see :data:`MAX_IN_DOUBLE`.
    """
    few = size <= MAX_IN_DOUBLE and jax.default_backend() == "cpu"
    return np.dtype(np.float64) if few else np.dtype(dtype)


def is_double_at_once(size: int, length: int) -> bool:
    """Whether sums of so many products, for a matrix (size, size), may be in double from the first
    step on, so little they take.
    """
    return length * size**2 <= _AT_ONCE


def gram_and_gradient(
    rows: jax.Array,
    residuals: jax.Array,
    dtype: DTypeLike | None = None,
    switch: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """``rows.T @ rows``, (P, P), and ``residuals @ rows``, (P,), for ``rows`` (m, P) and
    ``residuals`` (m,); in ``dtype``, or their own.

    While ``switch`` is False they are summed in their own and come in ``dtype``.
    """
    if dtype is not None and dtype != rows.dtype:
        with precision.kept(dtype):

            def wide() -> tuple[jax.Array, jax.Array]:
                return gram_and_gradient(rows.astype(dtype), residuals.astype(dtype))

            def narrow() -> tuple[jax.Array, jax.Array]:
                matrix, gradient = gram_and_gradient(rows, residuals)
                return matrix.astype(dtype), gradient.astype(dtype)

            return wide() if switch is None else control_flow.cond(switch, wide, narrow)
    if rows.shape[1] >= _WIDE or is_small(*rows.shape):
        return gram(rows), product(residuals, rows)
    # The residuals as one more column: one pass over J, which XLA would else compute once more for
    # the gradient (NIST's ENSO, whose sines take most of the time: 2.5 times). A wide J is better
    # left where it is.
    joined = gram(jnp.concatenate([rows, residuals[:, None]], axis=1))
    return joined[:-1, :-1], joined[-1, :-1]


def gram(rows: jax.Array) -> jax.Array:
    """``rows.T @ rows``, shape (P, P), for ``rows`` (m, P); symmetric but for rounding."""
    if rows.shape[1] >= _WIDE:
        return _by_block_rows(rows)
    if is_small(*rows.shape):
        return _small_gram(rows.T)
    return product(rows.T, rows)


@jax.custom_batching.custom_vmap
def products_with_first(rows: jax.Array) -> jax.Array:
    """``rows @ rows[0]``, shape (n,) for few rows (n, m): by itself as sums (see
    :data:`_SMALL`).
    """
    return jnp.sum(rows * rows[0], axis=1)


@products_with_first.def_vmap
def _many_products(
    axis_size: int, in_batched: list[bool], rows: jax.Array
) -> tuple[jax.Array, bool]:
    """Matrices times vectors, in half of the time of that many sums."""
    del axis_size, in_batched
    return jax.vmap(lambda each: product(each, each[0]))(rows), True


@jax.custom_batching.custom_vmap
def _small_gram(columns: jax.Array) -> jax.Array:
    """``columns @ columns.T`` for (P, m)."""
    return jnp.sum(columns[:, None, :] * columns[None, :, :], axis=2)


@_small_gram.def_vmap
def _many_grams(
    axis_size: int, in_batched: list[bool], columns: jax.Array
) -> tuple[jax.Array, bool]:
    """Column by column: 64 × 4 in float32 in two thirds of the time of the sums, in float64 as fast
    as those.
    """
    del axis_size, in_batched
    return jax.vmap(lambda each: jnp.stack([product(each, column) for column in each]))(
        columns
    ), True


def diagonal(matrix: jax.Array) -> jax.Array:
    """diag(matrix), (P,); of a small matrix without a gather, which a compiler fuses with
    nothing.
    """
    size = matrix.shape[0]
    return (
        jnp.stack([matrix[i, i] for i in range(size)])
        if 0 < size <= MAX_WRITTEN_OUT
        else jnp.diagonal(matrix)
    )


def is_small(rows: int, columns: int) -> bool:
    """Whether J of this shape is so small that the calls count, not the operations."""
    return rows * columns**2 <= _SMALL


def _by_block_rows(rows: jax.Array) -> jax.Array:
    columns = rows.shape[1]
    edges = [columns * k // _BLOCKS for k in range(_BLOCKS + 1)]
    block_rows = []
    for start, end in itertools.pairwise(edges):
        block = product(rows[:, start:end].T, rows[:, :end])
        block_rows.append(jnp.pad(block, ((0, 0), (0, columns - end))))
    lower = jnp.tril(jnp.concatenate(block_rows))
    return lower + jnp.tril(lower, -1).T
