"""Whole fits, alone and within a program of the caller's, against NumPy in float64."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.vectors import Vector
from lmjax._src.least_squares.least_squares import least_squares
from lmjax._src.self_check.cases import Case, matrix_product, random_values
from lmjax._src.typing import Array, DType


def fits(dtype: DType) -> Iterator[Case]:
    """Of lengths of points under an unknown matrix, the cost in NumPy against the one that is
    told.
    """
    truth = np.array([[1.2, 0.1, 0.0], [0.05, 0.9, -0.2], [0.0, 0.1, 1.1]])
    points = random_values(dtype, 33_000, 3)
    lengths = (
        np.linalg.norm(points @ truth.T, axis=1) + 0.1 * random_values(dtype, 33_000)
    ).astype(dtype)

    def residuals(matrix: jax.Array, points: jax.Array, lengths: jax.Array) -> jax.Array:
        return (
            jax.vmap(lambda point: jnp.linalg.norm(matrix_product(matrix, point)))(points) - lengths
        )

    def fit(start: Vector) -> tuple[Array, Array]:
        solution = least_squares(residuals, start, (points.astype(dtype), lengths))
        return solution.params, solution.cost

    for name, run in (("a call", fit), ("jit", jax.jit(fit))):
        matrix, cost = run((1.1 * truth).astype(dtype))
        values = np.linalg.norm(points @ np.asarray(matrix, np.float64).T, axis=1) - lengths
        expected = 0.5 * np.sum(values.astype(np.float64) ** 2)
        yield Case(
            f"{name}, 33 000 rows",
            cost,
            np.asarray(expected),
            0.5 * np.sum(np.abs(values) * (1 + lengths)),
        )
