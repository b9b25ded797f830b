"""Sums and maps over rows of data in chunks, so that memory does not grow with the number of
rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr

from lmjax._src.runtime import precision


def bytes_per_row(function: Callable[[Any, Any], Any], params: Any, rows: Any) -> int:
    """The memory that ``function(params, rows)`` takes for one more row, if each of its
    intermediate values were kept.
    """

    def total(count: int) -> int:
        cut = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), rows
        )
        return _result_bytes(jax.make_jaxpr(function)(params, cut).jaxpr)

    return max(total(2) - total(1), 1)


def _result_bytes(jaxpr: Jaxpr) -> int:
    """Of all equations, those of nested calls included."""
    total = 0
    for equation in jaxpr.eqns:
        results: list[Any] = [var.aval for var in equation.outvars]
        total += sum(result.size * result.dtype.itemsize for result in results)
        inner = (
            value.jaxpr if isinstance(value, ClosedJaxpr) else value
            for value in equation.params.values()
        )
        total += sum(_result_bytes(value) for value in inner if isinstance(value, Jaxpr))
    return total


def over_chunks(
    body: Callable[[Any, jax.Array | None], tuple[Any, Any]],
    rows: Any,
    num_rows: int,
    chunk_rows: int,
) -> tuple[Any, Any]:
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

    def chunk(index: jax.Array) -> tuple[Any, Any, jax.Array]:
        start = jnp.minimum(index * chunk_rows, num_rows - chunk_rows)
        piece = jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, chunk_rows), rows
        )
        sums, per_row = body(piece, start + jnp.arange(chunk_rows) >= index * chunk_rows)
        return sums, per_row, start

    def add(index: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
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


def _zeros(like: Any) -> jax.Array:
    with precision.kept(like.dtype):
        return jnp.zeros(like.shape, like.dtype)


def _added(one: jax.Array, other: jax.Array) -> jax.Array:
    with precision.kept(one.dtype):
        return one + other
