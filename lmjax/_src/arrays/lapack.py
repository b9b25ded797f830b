"""The factorisations that LAPACK computes on a CPU, as batches may ask for them in several threads
and on several devices at once.

In JAX 0.10 and 0.11 a batched call of LAPACK hands shares of the batch to the pool of threads in
which it runs itself, and waits. As many such calls at once as the pool has threads (one for each
core) wait forever. Batches that are computed in less than some 2 µs are not shared; there larger
ones are taken in groups of that size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from lmjax._src.runtime.batched_loop import spread
from lmjax._src.typing import PyTree, TreeFn

_WAITS = (0, 10) <= jax.__version_info__ < (0, 12)

#: Operations from which on a batch is shared, as jaxlib counts them; its counts for one matrix are
#: at most those given below.
_SHARED = 200_000


def _taking_turns(
    operations: Callable[..., int],
) -> Callable[[TreeFn], TreeFn]:
    """Decorates a function of arrays that takes so many ``operations(*shapes)``."""
    return functools.partial(_in_groups, operations) if _WAITS else lambda function: function


def _in_groups(operations: Callable[..., int], function: TreeFn) -> TreeFn:
    grouped = jax.custom_batching.custom_vmap(function)

    @grouped.def_vmap
    def _(size: int, are_batched: list[bool], *arrays: jax.Array) -> tuple[PyTree, PyTree]:
        batched = spread(size, list(are_batched), list(arrays))
        group = max(1, (_SHARED - 1) // operations(*(each.shape[1:] for each in batched)))
        if size > group and jax.default_backend() == "cpu":
            answer = jax.lax.map(lambda one: grouped(*one), batched, batch_size=group)
        else:
            # A batch of these batches is one batch for LAPACK.
            together = _in_groups(
                lambda *shapes: size * operations(*(shape[1:] for shape in shapes)),
                jax.vmap(function),
            )
            answer = together(*batched)
        return answer, jax.tree.map(lambda _: True, answer)

    # ``custom_vmap`` has no derivatives in reverse mode under ``vmap``.
    whole = jax.custom_jvp(grouped)
    whole.defjvp(
        lambda primals, tangents: (whole(*primals), jax.jvp(function, primals, tangents)[1])
    )
    return whole


def _of_qr(shape: tuple[int, ...]) -> int:
    return 2 * max(shape) * min(shape) ** 2


def _of_substitution(triangle: tuple[int, ...], target: tuple[int, ...]) -> int:
    return triangle[-1] * math.prod(target)


@_taking_turns(lambda shape: shape[-1] ** 3)
def cholesky(matrix: jax.Array) -> jax.Array:
    """L in the lower triangle of (n, n), for :func:`cholesky_solve`; NaN where ``matrix`` is not
    positive definite.
    """
    return cho_factor(matrix, lower=True)[0]


@_taking_turns(_of_substitution)
def cholesky_solve(triangle: jax.Array, target: jax.Array) -> jax.Array:
    """x (n,) with L Lᵀ x = ``target``."""
    return cho_solve((triangle, True), target)


@_taking_turns(_of_qr)
def qr(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(Q, R) of (m, n)."""
    return jnp.linalg.qr(matrix)


@_taking_turns(_of_qr)
def qr_triangle(matrix: jax.Array) -> jax.Array:
    """R of (m, n)."""
    return jnp.linalg.qr(matrix, mode="r")


@_taking_turns(_of_substitution)
def solve_triangle(triangle: jax.Array, target: jax.Array) -> jax.Array:
    """x, (n,) or (n, k), with R x = ``target`` for the upper triangle R."""
    return jax.scipy.linalg.solve_triangular(triangle, target)


@_taking_turns(_of_substitution)
def solve_transposed_triangle(triangle: jax.Array, target: jax.Array) -> jax.Array:
    """x (n,) with Rᵀ x = ``target`` for the upper triangle R."""
    return jax.scipy.linalg.solve_triangular(triangle, target, trans="T")


@_taking_turns(lambda shape: 5 * shape[-1] ** 3)
def eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues (n,) and eigenvectors (n, n) of a symmetric matrix."""
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors


@_taking_turns(lambda shape: 10 * max(shape) * min(shape) ** 2)
def singular_values(matrix: jax.Array) -> jax.Array:
    """Of (m, n), the largest first."""
    return jnp.linalg.svd(matrix, compute_uv=False)
