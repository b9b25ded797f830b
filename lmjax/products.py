"""The product that dominates a step: JᵀJ of a tall matrix."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp

#: From this many columns on, only the lower block triangle is computed, in this many block rows. Measured on two cores
#: (10 000 × 2 041): 354 against 428 ms in float32, 703 against 1 028 ms in float64.
_WIDE, _BLOCKS = 512, 4

#: Up to so many multiplications the product is left to XLA:CPU as a sum: a call of its matrix library in the body keeps it from
#: compiling a loop as one function, in which an operation costs a tenth of what it costs alone (a fit of two parameters on
#: JAX 0.12: 33 against 80 µs).
_SMALL = 4096

_HIGHEST = jax.lax.Precision.HIGHEST  # TF32 and its like would break the matrix' positive definiteness


def gram_and_gradient(rows: jax.Array, residuals: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``rows.T @ rows``, (P, P), and ``residuals @ rows``, (P,), for ``rows`` (m, P) and ``residuals`` (m,)."""
    if rows.shape[1] >= _WIDE or _is_small(rows):
        return gram(rows), jnp.matmul(residuals, rows, precision=_HIGHEST)
    # The residuals as one more column: one pass over J, which XLA would else compute once more for the gradient (NIST's ENSO,
    # whose sines take most of the time: 2.5 times). A wide J is better left where it is.
    product = gram(jnp.concatenate([rows, residuals[:, None]], axis=1))
    return product[:-1, :-1], product[-1, :-1]


def gram(rows: jax.Array) -> jax.Array:
    """``rows.T @ rows``, shape (P, P), for ``rows`` (m, P); symmetric but for rounding."""
    if rows.shape[1] >= _WIDE:
        return _by_block_rows(rows)
    if _is_small(rows):
        return jnp.sum(rows.T[:, None, :] * rows.T[None, :, :], axis=-1)  # under vmap a third of the time of sums along the first axis
    return jnp.matmul(rows.T, rows, precision=_HIGHEST)


def _is_small(rows: jax.Array) -> bool:
    return rows.size * rows.shape[1] <= _SMALL


def _by_block_rows(rows: jax.Array) -> jax.Array:
    columns = rows.shape[1]
    edges = [columns * k // _BLOCKS for k in range(_BLOCKS + 1)]
    block_rows = []
    for start, end in itertools.pairwise(edges):
        block = jnp.matmul(rows[:, start:end].T, rows[:, :end], precision=_HIGHEST)
        block_rows.append(jnp.pad(block, ((0, 0), (0, columns - end))))
    lower = jnp.tril(jnp.concatenate(block_rows))
    return lower + jnp.tril(lower, -1).T
