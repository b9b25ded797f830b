"""Products, matrices and what else the rows and columns of tensors are combined by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy as jsp
from jax import lax

from bridge._src.operations.table import as_float, axes_of, function, named
from bridge._src.typing import Axis
from lmjax._src.typing import ArrayLike


def _dot(x1: ArrayLike, x2: ArrayLike) -> jax.Array:
    return jnp.dot(jnp.asarray(x1), jnp.asarray(x2))


named(
    "numpy",
    "x1 x2",
    {
        "Dot": _dot,
        "Inner": jnp.inner,
        "Kron": jnp.kron,
        "Matmul": jnp.matmul,
        "Outer": jnp.outer,
        "Vdot": jnp.vdot,
    },
)
named(
    "numpy",
    "x",
    {
        "Corrcoef": lambda x: jnp.corrcoef(as_float(x)),
        "Slogdet": lambda x: tuple(jnp.linalg.slogdet(x)),
    },
)
named("math", "x", {"Logdet": lambda x: jnp.linalg.slogdet(x)[1]})
named("linalg", "x", {"Det": jnp.linalg.det, "Inv": jnp.linalg.inv})


@function("numpy.Einsum")
def einsum(*operands: ArrayLike, subscripts: str) -> jax.Array:
    """Einstein's sum."""
    return jnp.einsum(subscripts, *operands)


@function("numpy.Tensordot")
def tensordot(
    x1: ArrayLike, x2: ArrayLike, axes: int | Sequence[Sequence[int] | int] = 2
) -> jax.Array:
    """Products summed over axes of both."""
    return jnp.tensordot(
        x1, x2, axes if isinstance(axes, int) else tuple(axes_of(one) for one in axes)
    )


@function("numpy.Cross")
def cross(
    x1: ArrayLike,
    x2: ArrayLike,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> jax.Array:
    """The cross product of vectors of two or three dimensions."""
    return jnp.cross(x1, x2, axisa, axisb, axisc, axis)


@function("numpy.Correlate")
def correlate(x1: ArrayLike, x2: ArrayLike, mode: str = "valid") -> jax.Array:
    """The correlation of two sequences."""
    return jnp.correlate(as_float(x1), as_float(x2), mode)


@function("numpy.Trace")
def trace(x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> jax.Array:
    """The sums of diagonals."""
    return jnp.trace(x, offset, axis1, axis2)


@function("numpy.Vander")
def vander(x: ArrayLike, N: int | None = None, increasing: bool = False) -> jax.Array:
    """Powers of x in columns."""
    return jnp.vander(x, N, increasing)


@function("numpy.Diff")
def diff(a: ArrayLike, n: int = 1, axis: int = -1) -> jax.Array:
    """Differences of neighbours."""
    return jnp.diff(a, n, axis)


@function("numpy.Trapezoid")
def trapezoid(y: ArrayLike, x: ArrayLike = None, dx: ArrayLike = 1.0, axis: int = -1) -> jax.Array:
    """The integral by the trapezoidal rule."""
    return jnp.trapezoid(as_float(y), None if x is None else jnp.asarray(x), dx, axis)


@function("numpy.Digitize")
def digitize(x: ArrayLike, bins: ArrayLike) -> jax.Array:
    """The number of the bin in which each entry lies."""
    return jnp.digitize(x, jnp.asarray(bins)).astype(jnp.int32)


@function("numpy.SearchSorted")
def searchsorted(sorted_sequence: ArrayLike, values: ArrayLike, side: str = "left") -> jax.Array:
    """Where each value would be put in a sorted sequence."""
    return jnp.searchsorted(jnp.asarray(sorted_sequence), jnp.asarray(values), side).astype(
        jnp.int32
    )


@function("numpy.IsIn", "assume_unique")
def isin(x1: ArrayLike, x2: ArrayLike, invert: bool = False) -> jax.Array:
    """Whether each entry is among others."""
    return jnp.isin(x1, jnp.asarray(x2), invert=invert)


@function("math.CDist")
def cdist(x: jax.Array, y: jax.Array) -> jax.Array:
    """Distances of all rows of x and of y."""
    return jnp.sqrt(jnp.sum((x[..., :, None, :] - y[..., None, :, :]) ** 2, axis=-1))


@function("linalg.Cholesky")
def cholesky(x: ArrayLike, upper: bool = False) -> jax.Array:
    """The Cholesky factor."""
    result: jax.Array = jnp.linalg.cholesky(x, upper=upper)
    return result


@function("linalg.CholeskyInverse")
def cholesky_inverse(x: ArrayLike, upper: bool = False) -> jax.Array:
    """The inverse of the matrix with this Cholesky factor."""
    inverse = jsp.linalg.solve_triangular(
        x, jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape), lower=not upper
    )
    turned = jnp.swapaxes(inverse, -1, -2)
    return inverse @ turned if upper else turned @ inverse


@function("linalg.Norm")
def norm(x: ArrayLike, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> jax.Array:  # noqa: A002 - Keras' name
    """A norm of vectors or matrices."""
    result: jax.Array = jnp.linalg.norm(as_float(x), ord, axes_of(axis), keepdims)
    return result


@function("linalg.Qr")
def qr(x: ArrayLike, mode: str = "reduced") -> tuple[jax.Array, jax.Array]:
    """An orthogonal and a triangular factor."""
    orthogonal, triangular = jnp.linalg.qr(x, mode)
    return orthogonal, triangular


@function("linalg.SVD", "full_matrices")
def svd(x: ArrayLike, compute_uv: bool = True) -> jax.Array:
    """Singular values."""
    if compute_uv:
        raise ValueError(
            "singular vectors are only determined up to their sign, and TensorFlow and "
            "JAX choose it differently"
        )
    return jnp.linalg.svd(x, compute_uv=False)


@function("linalg.LuFactor")
def lu_factor(x: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """The LU factors in one matrix, and the exchanges of rows."""
    factors, exchanges = jsp.linalg.lu_factor(x)
    return factors, exchanges


@function("linalg.Solve")
def solve(a: jax.Array, b: jax.Array) -> jax.Array:
    """The solution of linear equations; one right-hand side may be a vector."""
    result: jax.Array = (
        jnp.linalg.solve(a, b[..., None])[..., 0]
        if b.ndim == a.ndim - 1
        else jnp.linalg.solve(a, b)
    )
    return result


@function("linalg.SolveTriangular")
def solve_triangular(a: jax.Array, b: jax.Array, lower: bool = False) -> jax.Array:
    """The solution of triangular equations."""
    vector = b.ndim == a.ndim - 1
    solution = lax.linalg.triangular_solve(
        a, b[..., None] if vector else b, left_side=True, lower=lower
    )
    return solution[..., 0] if vector else solution


@function("linalg.Lstsq")
def lstsq(a: jax.Array, b: jax.Array, rcond: ArrayLike = None) -> jax.Array:
    """The solution of least squares."""
    return jnp.linalg.lstsq(a, b, rcond)[0]


@function("linalg.Pinv")
def pinv(x: jax.Array, rcond: ArrayLike = None) -> jax.Array:
    """The pseudoinverse."""
    return jnp.linalg.pinv(x, rcond)


@function("linalg.MatrixRank")
def matrix_rank(x: jax.Array, tol: ArrayLike = None) -> jax.Array:
    """The number of singular values above a tolerance."""
    values = jnp.linalg.svd(x, compute_uv=False)
    if tol is None:
        tol = jnp.max(values, axis=-1, keepdims=True) * max(x.shape[-2:]) * jnp.finfo(x.dtype).eps
    return jnp.sum(values > tol, axis=-1, dtype=jnp.int32)
