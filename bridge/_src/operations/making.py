"""Functions of ``keras.ops`` that make arrays: constants and ranges."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from bridge._src.operations.table import dtype_of, function, whole
from bridge._src.typing import Sizes
from lmjax._src.typing import Array, ArrayLike


@function("numpy.FullLike")
def full_like(x: jax.Array, fill_value: ArrayLike, dtype: DTypeLike | None = None) -> jax.Array:
    """One number in the shape of x."""
    return jnp.full_like(x, fill_value, None if dtype is None else dtype_of(dtype, x))


@function("numpy.OnesLike")
def ones_like(x: jax.Array, dtype: DTypeLike | None = None) -> jax.Array:
    """Ones in the shape of x."""
    return full_like(x, 1, dtype)


@function("numpy.ZerosLike")
def zeros_like(x: jax.Array, dtype: DTypeLike | None = None) -> jax.Array:
    """Zeros in the shape of x."""
    return full_like(x, 0, dtype)


@function("numpy.Full")
def full(fill_value: ArrayLike, shape: Sizes, dtype: DTypeLike | None = None) -> jax.Array:
    """One number in a shape."""
    return jnp.full(
        whole(shape), fill_value, None if dtype is None else dtype_of(dtype, fill_value)
    )


@function("numpy.Linspace")
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Array:
    """Evenly spaced numbers."""
    return jnp.linspace(
        start, stop, num, endpoint, retstep, None if dtype is None else dtype_of(dtype, start), axis
    )


@function("numpy.Logspace")
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> jax.Array:
    """Powers of a base with evenly spaced exponents."""
    return jnp.logspace(
        start, stop, num, endpoint, base, None if dtype is None else dtype_of(dtype, start), axis
    )


@function("numpy.Geomspace")
def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> jax.Array:
    """Numbers with equal ratios."""
    return jnp.geomspace(
        start, stop, num, endpoint, None if dtype is None else dtype_of(dtype, start), axis
    )
