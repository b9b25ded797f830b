"""Functions of numbers, sums, products and factorisations against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.self_check.cases import LENGTHS, ROWS, Case, matrix_product, random_values
from lmjax._src.typing import Array, DType


def _functions(library: ModuleType) -> dict[str, Callable[[Array], Array]]:
    """Of numbers between -2 and 2, each no more than 8 times as sensitive to them as they are
    large.
    """
    return {
        "exp": library.exp,
        "expm1": library.expm1,
        "log": lambda x: library.log(3 + x),
        "log1p": lambda x: library.log1p(x * x),
        "sin": library.sin,
        "cos": library.cos,
        "tan": lambda x: library.tan(x / 2),
        "sinh": library.sinh,
        "cosh": library.cosh,
        "tanh": library.tanh,
        "arctan": library.arctan,
        "arcsin": lambda x: library.arcsin(x / 4),
        "arcsinh": library.arcsinh,
        "sqrt": lambda x: library.sqrt(3 + x),
        "power": lambda x: (3 + x) ** 2.5,
        "logistic": lambda x: 1 / (1 + library.exp(-x)),
        "hypot": lambda x: library.hypot(x, 1 + x),
    }


def elementwise(dtype: DType) -> Iterator[Case]:
    together = jax.jit(lambda x: [function(x) for function in _functions(jnp).values()])
    for size in LENGTHS:
        x = np.clip(random_values(dtype, size), -2, 2).astype(dtype)
        exact = x.astype(np.float64)
        for values, (name, function) in zip(together(x), _functions(np).items(), strict=True):
            expected = function(exact)
            yield Case(f"{name} of {size}", values, expected, 1 + np.abs(expected))
    for name, function in _functions(jnp).items():  # alone, each is a program of another kind
        x = np.clip(random_values(dtype, 100), -2, 2).astype(dtype)
        expected = _functions(np)[name](x.astype(np.float64))
        yield Case(f"{name} of 100, alone", jax.jit(function)(x), expected, 1 + np.abs(expected))


def sums(dtype: DType) -> Iterator[Case]:
    together = jax.jit(
        lambda x: (
            jnp.sum(x),
            jnp.sum(x * x),
            jnp.linalg.norm(x),
            jnp.sum(x, 0),
            jnp.sum(x * x, 1),
            jnp.max(x),
            jnp.vdot(x, x),
            jnp.mean(x),
        )
    )
    for rows in ROWS:
        x = random_values(dtype, rows, 3)
        # Roundings of either sign add up as the root of their number.
        squares, growth = (
            x * x,
            1 + np.sqrt(rows) / 8,
        )
        total, length = growth * squares.sum(), np.sqrt(squares.sum())
        wanted = [
            x.sum(),
            squares.sum(),
            length,
            x.sum(0),
            squares.sum(1),
            x.max(),
            squares.sum(),
            x.mean(),
        ]
        scales = [
            growth * np.abs(x).sum(),
            total,
            growth * length,
            growth * np.abs(x).sum(0),
            1 + squares.sum(1),
            1,
            total,
            growth,
        ]
        for values, expected, scale in zip(together(x.astype(dtype)), wanted, scales, strict=True):
            yield Case(f"{rows} rows", values, np.asarray(expected), scale)


def products(dtype: DType) -> Iterator[Case]:
    def norm_of_product(matrix: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.linalg.norm(matrix_product(matrix, x))

    def square_of_product(matrix: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum(matrix_product(matrix, x) ** 2)

    def gram(matrix: jax.Array, x: jax.Array) -> jax.Array:
        images = matrix_product(x, matrix)
        return matrix_product(images.T, images)

    matrix = random_values(dtype, 3, 3)
    each = [
        jax.jit(jax.vmap(function, (None, 0))) for function in (norm_of_product, square_of_product)
    ]
    for rows in ROWS:
        x = random_values(dtype, rows, 3)
        images = x @ matrix.T
        squares = np.sum(images**2, 1)
        lengths = np.sqrt(np.sum((np.abs(x) @ np.abs(matrix).T) ** 2, 1))
        arguments = matrix.astype(dtype), x.astype(dtype)
        yield Case(f"norms of {rows} rows", each[0](*arguments), np.sqrt(squares), 1 + lengths)
        yield Case(f"squares of {rows} rows", each[1](*arguments), squares, 1 + lengths**2)
        yield Case(
            f"matrix of {rows} rows",
            jax.jit(gram)(*arguments),
            (x @ matrix).T @ (x @ matrix),
            np.sum(lengths**2) + rows,
        )
    for size in (1, 2, 5, 16, 33, 100, 257):
        left, right = random_values(dtype, size, 65), random_values(dtype, 65, size)
        product = jax.jit(matrix_product)(left.astype(dtype), right.astype(dtype))
        yield Case(f"{size} × 65 × {size}", product, left @ right, np.abs(left) @ np.abs(right))


def factorisations(dtype: DType) -> Iterator[Case]:
    @jax.jit
    def together(matrix: jax.Array, right: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        factor = jnp.linalg.cholesky(matrix)
        q, r = jnp.linalg.qr(matrix)
        back = matrix_product(factor, factor.T), matrix_product(q, r)
        return *back, matrix_product(matrix, jax.scipy.linalg.cho_solve((factor, True), right))

    for size in (1, 2, 3, 8, 17, 32, 33, 64, 65, 129):
        root = random_values(dtype, size, size + 4)
        matrix = ((root @ root.T) / size + np.eye(size)).astype(dtype).astype(np.float64)
        right = random_values(dtype, size)
        factored, orthogonal, solved = together(matrix.astype(dtype), right.astype(dtype))
        norm = np.linalg.norm(matrix)
        yield Case(f"Cholesky of {size}", factored, matrix, norm)
        yield Case(f"QR of {size}", orthogonal, matrix, norm)
        yield Case(f"solution of {size}", solved, right, norm * np.linalg.norm(right))
