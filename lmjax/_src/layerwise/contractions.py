"""J_leaf J_leafᵀ of one parameter from what one of its uses noted, by the cheapest exact
route.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lmjax._src.arrays.products import HIGHEST, product
from lmjax._src.layerwise.rules import ParameterUse
from lmjax._src.typing import Scalar

#: The most memory for the rows of J of one parameter, in bytes; more of them are worked off in
#: slices.
BLOCK_BYTES = 128 * 2**20


#: Maps (first sample, number of samples) to their rows of J in one parameter, (samples · R, size).
RowsOf = Callable[[Scalar, int], jax.Array]


def of_use(use: ParameterUse, noted: jax.Array, deltas: jax.Array, leaf: jax.Array) -> jax.Array:
    """The matrix (N·R, N·R), from ``noted`` (N, …) and the derivatives ``deltas`` (N, R, *shape of
    the outputs).
    """
    samples, rows = deltas.shape[:2]
    if use.kind == "entrywise":
        transposed = jax.linear_transpose(use.view.of, leaf)

        def rows_of(start: Scalar, count: int) -> jax.Array:
            data, derivatives = (
                jax.lax.dynamic_slice_in_dim(array, start, count) for array in (noted, deltas)
            )
            return as_rows(
                jax.vmap(lambda a, ds: jax.vmap(lambda d: transposed(a * d)[0])(ds))(
                    data, derivatives
                )
            )

        return of_rows(rows_of, samples, rows, leaf.size)
    arranged = jax.vmap(jax.vmap(use.arranged))(deltas)  # (N, R, T, G, F)
    if use.kind == "lookup":
        return _lookup(jax.vmap(use.expand)(noted), arranged[:, :, :, 0], use.length)
    return _product(jax.vmap(use.expand)(noted), arranged)


def of_rows(rows_of: RowsOf, samples: int, rows: int, size: int) -> jax.Array:
    """The matrix from the rows of J themselves: all at once if they are few, else a pair of pieces
    at a time.

    A piece is made again for every pair that it is in: time is traded for memory.
    """
    piece = sample_pieces(samples, rows, size, rows_of)
    if piece >= samples:
        return self_product(rows_of(0, samples))

    def start_of(index: jax.Array) -> jax.Array:
        # The last one starts early; what is written twice is the same.
        return jnp.minimum(index * piece, samples - piece)

    def block_row(index: jax.Array, matrix: jax.Array) -> jax.Array:
        here = start_of(index)
        left = rows_of(here, piece)

        def block(other: jax.Array, matrix: jax.Array) -> jax.Array:
            there = start_of(other)
            products = product(left, rows_of(there, piece).T)
            matrix = jax.lax.dynamic_update_slice(matrix, products.T, (there * rows, here * rows))
            return jax.lax.dynamic_update_slice(matrix, products, (here * rows, there * rows))

        return jax.lax.fori_loop(0, index + 1, block, matrix)

    dtype = jax.eval_shape(lambda: rows_of(0, piece)).dtype
    return jax.lax.fori_loop(
        0, math.ceil(samples / piece), block_row, jnp.zeros((samples * rows, samples * rows), dtype)
    )


def sample_pieces(
    samples: int, rows: int, size: int, rows_of: RowsOf | None = None, itemsize: int = 4
) -> int:
    """How many samples' rows of J are made at once: all, or as many as fit twice into
    :data:`BLOCK_BYTES`, at least one.
    """
    if rows_of is not None:
        itemsize = jax.eval_shape(lambda: rows_of(0, 1)).dtype.itemsize
    one = rows * size * itemsize
    return samples if samples * one <= BLOCK_BYTES else max(1, BLOCK_BYTES // (2 * one))


def in_pairs(
    samples: int, rows: int, positions: int, length: int, features: int
) -> tuple[float, float]:
    """Operations of a ``product`` of one group by pairs of positions, Σₜₛ (aₜ aₛᵀ) ∘ (δₜ δₛᵀ), and
    by rows of J, Σₜ aₜ ⊗ δₜ.
    """
    size, many = length * features, samples * rows
    pairs = positions**2 * (2.0 * samples**2 * length + 2.0 * many**2 * (features + 1))
    return pairs, 2.0 * many**2 * size + 2.0 * many * positions * size


def _product(data: jax.Array, deltas: jax.Array) -> jax.Array:
    """Data a (N, T, G, K), derivatives δ (N, R, T, G, F): the rows Σₜ aₜ ⊗ δₜ of each group against
    each other.
    """
    samples, rows, positions, groups, features = deltas.shape
    by_pairs, by_rows = in_pairs(samples, rows, positions, data.shape[-1], features)
    if groups == 1 and by_pairs <= by_rows:

        def pair(t: jax.Array, s: jax.Array) -> jax.Array:
            left, right = (_at(data, k, 1)[:, 0] for k in (t, s))
            between_samples = product(left, right.T)
            return jnp.repeat(jnp.repeat(between_samples, rows, 0), rows, 1) * _between(
                deltas[:, :, :, 0], t, s
            )

        return _over_pairs(pair, positions, samples * rows, deltas.dtype)

    def part(part_of_deltas: jax.Array) -> jax.Array:
        return self_product(
            as_rows(jnp.einsum("ntgk,nrtgf->nrgkf", data, part_of_deltas, precision=HIGHEST))
        )

    column_bytes = samples * rows * groups * data.shape[-1] * data.dtype.itemsize
    return _in_slices(part, deltas, max(1, BLOCK_BYTES // column_bytes))


def _lookup(indices: jax.Array, deltas: jax.Array, length: int) -> jax.Array:
    """Numbers (N, T) of a table's rows, of which there are ``length``, and derivatives δ (N, R, T,
    F) in them.
    """
    samples, rows, positions, features = deltas.shape
    if samples * rows * length * features * deltas.dtype.itemsize <= BLOCK_BYTES:
        table = jnp.zeros((length, features), deltas.dtype)
        return self_product(
            as_rows(
                jax.vmap(lambda i, ds: jax.vmap(lambda d: table.at[i].add(d))(ds))(indices, deltas)
            )
        )

    def pair(t: jax.Array, s: jax.Array) -> jax.Array:
        same = _at(indices, t, 1)[:, None] == _at(indices, s, 1)[None, :]
        return jnp.where(jnp.repeat(jnp.repeat(same, rows, 0), rows, 1), _between(deltas, t, s), 0)

    return _over_pairs(pair, positions, samples * rows, deltas.dtype)


def _between(deltas: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
    """δₜ δₛᵀ, (N·R, N·R), of δ (N, R, T, F)."""
    left, right = (as_rows(_at(deltas, k, 2)) for k in (t, s))
    return product(left, right.T)


def _at(array: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    return jax.lax.dynamic_index_in_dim(array, index, axis, keepdims=False)


def _over_pairs(
    pair: Callable[[jax.Array, jax.Array], jax.Array], positions: int, size: int, dtype: DTypeLike
) -> jax.Array:
    """The sum of ``pair`` over all pairs of positions."""
    if positions == 1:
        return pair(jnp.zeros((), int), jnp.zeros((), int))
    return jax.lax.fori_loop(
        0,
        positions**2,
        lambda k, total: total + pair(k // positions, k % positions),
        jnp.zeros((size, size), dtype),
    )


def _in_slices(part: Callable[[jax.Array], jax.Array], deltas: jax.Array, width: int) -> jax.Array:
    """The sum of ``part`` over slices of ``width`` of the last axis, one at a time."""
    features = deltas.shape[-1]
    if width >= features:
        return part(deltas)
    whole = math.floor(features / width)
    total = jax.lax.fori_loop(
        1,
        whole,
        lambda k, sum_: sum_ + part(jax.lax.dynamic_slice_in_dim(deltas, k * width, width, -1)),
        part(deltas[..., :width]),
    )
    return total if whole * width == features else total + part(deltas[..., whole * width :])


def as_rows(blocks: jax.Array) -> jax.Array:
    """(N, R, …) as (N·R, entries)."""
    return blocks.reshape(blocks.shape[0] * blocks.shape[1], -1)


def self_product(rows: jax.Array) -> jax.Array:
    """``rows`` times its transpose."""
    return product(rows, rows.T)
