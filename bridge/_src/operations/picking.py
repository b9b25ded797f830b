"""Functions of ``keras.ops`` that pick entries out of arrays, or put some in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from bridge._src.operations.table import function, whole
from bridge._src.typing import Sizes
from lmjax._src.typing import ArrayLike


@function("numpy.GetItem")
def get_item(x: jax.Array, key: Any = None) -> jax.Array:
    """x[key]."""
    return x[tuple(key) if isinstance(key, list) else key]


@function("numpy.Take")
def take(x: ArrayLike, indices: ArrayLike, axis: int | None = None) -> jax.Array:
    """The entries at positions along an axis; negative ones count from the end."""
    return jnp.take(x, jnp.asarray(indices), axis)


@function("numpy.TakeAlongAxis")
def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: int | None = None) -> jax.Array:
    """The entries at positions that differ from row to row."""
    return jnp.take_along_axis(x, jnp.asarray(indices), axis)


@function("numpy.Diag")
def diag(x: ArrayLike, k: int = 0) -> jax.Array:
    """A matrix with this diagonal, or the diagonal of a matrix."""
    return jnp.diag(x, k)


@function("numpy.Diagflat")
def diagflat(x: ArrayLike, k: int = 0) -> jax.Array:
    """A matrix with these numbers on its diagonal."""
    return jnp.diagflat(x, k)


@function("numpy.Diagonal")
def diagonal(x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> jax.Array:
    """The diagonals of two axes."""
    result: jax.Array = jnp.diagonal(x, offset, axis1, axis2)
    return result


@function("numpy.Tril")
def tril(x: ArrayLike, k: int = 0) -> jax.Array:
    """The lower triangles."""
    return jnp.tril(x, k)


@function("numpy.Triu")
def triu(x: ArrayLike, k: int = 0) -> jax.Array:
    """The upper triangles."""
    return jnp.triu(x, k)


@function("core.Slice")
def slice_of(inputs: jax.Array, start_indices: ArrayLike, shape: Sizes) -> jax.Array:
    """The part of this shape from these indices on."""
    return lax.dynamic_slice(inputs, list(start_indices), whole(shape))


@function("core.SliceUpdate")
def slice_update(inputs: jax.Array, start_indices: ArrayLike, updates: ArrayLike) -> jax.Array:
    """``inputs`` with a part of it replaced."""
    return lax.dynamic_update_slice(inputs, jnp.asarray(updates, inputs.dtype), list(start_indices))


@function("core.Scatter")
def scatter(indices: ArrayLike, values: ArrayLike, shape: Sizes) -> jax.Array:
    """Zeros with values added at indices (…, axes)."""
    values = jnp.asarray(values)
    return (
        jnp.zeros(whole(shape), values.dtype)
        .at[tuple(jnp.moveaxis(jnp.asarray(indices), -1, 0))]
        .add(values)
    )


@function("core.ScatterUpdate")
def scatter_update(
    inputs: jax.Array, indices: ArrayLike, updates: ArrayLike, reduction: str | None = None
) -> jax.Array:
    """``inputs`` with updates at indices (…, axes), which replace what is there or are combined
    with it.
    """
    at = inputs.at[tuple(jnp.moveaxis(jnp.asarray(indices), -1, 0))]
    methods: dict[str | None, Callable[..., jax.Array]] = {
        None: at.set,
        "add": at.add,
        "max": at.max,
        "min": at.min,
    }
    if reduction not in methods:
        raise ValueError(f"reduction={reduction!r} of scatter_update has no derivative in JAX")
    return methods[reduction](jnp.asarray(updates, inputs.dtype))


@function("numpy.UnravelIndex")
def unravel_index(indices: ArrayLike, shape: Sizes) -> tuple[jax.Array, ...]:
    """Positions in a flat array as indices of its axes."""
    if jnp.ndim(indices) > 1:
        raise ValueError(
            "Keras on TensorFlow gives the indices of a table of positions in the wrong "
            "order; give it a flat list of them"
        )
    return jnp.unravel_index(indices, whole(shape))
