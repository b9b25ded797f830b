"""A computation, what it gives exactly, and how far rounding may take it from there."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.typing import Array, DType, NumpyArray

#: Lengths around those at which vectors of instructions end, and loops are split.
LENGTHS = (1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 49, 50, 64, 100, 129, 1000)

#: Rows around those beyond which work is shared out among threads or blocks.
ROWS = (255, 1000, 16_384, 16_385, 20_000, 32_768, 32_769)

#: How many roundings a value may be off, beside those that its sum takes: libraries of functions
#: and ours differ by about ten.
ROUNDINGS = 64


class Case(NamedTuple):
    """Values that were computed, what they are, and the rounding (of the same shape, or a number)
    that is to be expected.
    """

    where: str
    values: Array
    expected: NumpyArray
    scale: Array


def excess(case: Case, dtype: DType) -> float:
    """The largest deviation over the rounding that is to be expected; infinite where NaN came
    out.
    """
    values = np.asarray(case.values, np.float64)
    if values.shape != case.expected.shape or not np.isfinite(values).all():
        return np.inf
    return float(
        np.max(
            np.abs(values - case.expected)
            / (ROUNDINGS * np.finfo(dtype).eps * np.asarray(case.scale))
        )
    )


def matrix_product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Of matrices, written as users write it; accelerators, which round on the way then, are asked
    not to.
    """
    return jnp.matmul(left, right, precision=None if jax.default_backend() == "cpu" else "highest")


def random_values(dtype: DType, *shape: int) -> NumpyArray:
    """Numbers of the dtype, as float64 too: so both sides begin with the same."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype).astype(np.float64)
