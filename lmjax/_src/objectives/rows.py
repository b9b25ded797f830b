"""Sums and maps over rows of data in chunks, so that memory does not grow with the number of
rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.runtime import precision
from lmjax._src.runtime.jaxpr_costs import result_bytes
from lmjax._src.typing import Array, ModelFn, Params, PyTree


class Rows(NamedTuple):
    """The data: inputs (a pytree of arrays), targets, and weights (N,), of steps too (see
    :mod:`lmjax._src.objectives.losses.step_weights`), or None.
    """

    inputs: PyTree
    targets: jax.Array
    weights: PyTree


def filled(rows: Rows, count: int) -> Rows:
    """``rows``, which have weights, with copies of the first one up to ``count`` rows, of weight
    zero, in new memory on the host.

    Copies of real data, because a model need not be finite at zero.
    """
    missing = count - len(rows.targets)
    if missing <= 0:
        return rows

    def fill(leaf: Array) -> Array:
        array = np.asarray(leaf)
        return np.concatenate([array, np.broadcast_to(array[:1], (missing, *array.shape[1:]))])

    full: Rows = jax.tree.map(fill, rows)
    full.weights[len(rows.targets) :] = 0
    return full


def mean_over(count: int, rows: Rows) -> Rows:
    """``rows`` with weights by which a mean over all of them is the mean over ``count``, those of
    some weight.
    """
    weights = np.asarray(rows.weights)
    return rows._replace(weights=weights * np.asarray(len(weights) / count, weights.dtype))


def bytes_per_row(function: ModelFn, params: Params, rows: PyTree) -> int:
    """The memory that ``function(params, rows)`` takes for one more row, if each of its
    intermediate values were kept.
    """

    def total(count: int) -> int:
        cut = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), rows
        )
        return result_bytes(jax.make_jaxpr(function)(params, cut).jaxpr)

    return max(total(2) - total(1), 1)


def over_chunks(
    body: Callable[[Rows, jax.Array | None], tuple[PyTree, PyTree]],
    rows: PyTree,
    num_rows: int,
    chunk_rows: int,
) -> tuple[PyTree, PyTree]:
    """Applies ``body`` to chunks of ``chunk_rows`` rows; returns (summed, stacked).

    Args:
        body: maps (chunk, fresh) to (sums, per_row): a pytree to be summed over chunks, and a
            pytree whose leaves have the chunk's rows as their first axis. ``fresh`` (chunk_rows,)
            is False for rows that an earlier chunk has already counted: the last chunk starts early
            instead of being padded, so that every row is real data and no copy of the data is made.
            ``body`` must leave those rows out of its sums. None with one chunk.
        rows: a pytree of arrays with ``num_rows`` rows each.
        num_rows: N.
        chunk_rows: B; with B ≥ N there is one chunk and no loop.
    """
    if chunk_rows >= num_rows:
        return body(rows, None)

    def chunk(index: jax.Array) -> tuple[PyTree, PyTree, jax.Array]:
        start = jnp.minimum(index * chunk_rows, num_rows - chunk_rows)
        piece = jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, chunk_rows), rows
        )
        sums, per_row = body(piece, start + jnp.arange(chunk_rows) >= index * chunk_rows)
        return sums, per_row, start

    def add(index: jax.Array, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        sums, per_row, start = chunk(index)
        total, stacked = carry
        stacked = jax.tree.map(
            lambda whole, part: jax.lax.dynamic_update_slice_in_dim(whole, part, start, 0),
            stacked,
            per_row,
        )
        return jax.tree.map(_added, total, sums), stacked

    sums, per_row, _ = jax.eval_shape(chunk, jnp.zeros((), int))
    total = jax.tree.map(_zeros, sums)
    stacked = jax.tree.map(lambda leaf: jnp.zeros((num_rows, *leaf.shape[1:]), leaf.dtype), per_row)
    return jax.lax.fori_loop(0, -(-num_rows // chunk_rows), add, (total, stacked))


def _zeros(like: Array) -> jax.Array:
    with precision.kept(like.dtype):
        return jnp.zeros(like.shape, like.dtype)


def _added(one: jax.Array, other: jax.Array) -> jax.Array:
    with precision.kept(one.dtype):
        return one + other
