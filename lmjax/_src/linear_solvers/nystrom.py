"""A preconditioner from a random sketch of the Gauss-Newton matrix."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays import lapack
from lmjax._src.arrays.products import HIGHEST, product
from lmjax._src.objectives.curvature import Curvature
from lmjax._src.objectives.linearization import Linearization


class Sketched(NamedTuple):
    """A :class:`~lmjax._src.objectives.curvature.Curvature` M, and a matrix of k columns with M ≈ T
    (V Vᵀ + tail) T, T² = diag(M).
    """

    curvature: Curvature
    columns: jax.Array  #: V, (P, k)
    tail: jax.Array  #: a scalar
    diagonal: jax.Array  #: diag(M), (P,), 1 where that is 0

    def product(self, vector: jax.Array) -> jax.Array:
        """See :class:`~lmjax._src.objectives.curvature.Curvature`."""
        return self.curvature.product(vector)

    def restrict(self, free: jax.Array) -> Sketched:
        """See :class:`~lmjax._src.objectives.curvature.Curvature`."""
        return self._replace(
            curvature=self.curvature.restrict(free),
            columns=jnp.where(free[:, None], self.columns, 0),
        )


class Preconditioner(NamedTuple):
    """The inverse of T (V Vᵀ + tail) T + λD, by the Sherman-Morrison-Woodbury formula; or of a
    diagonal, without columns.
    """

    root: jax.Array  #: of the diagonal part, (P,)
    #: orthonormal Q, (P, k), of the part of V that matters beside the diagonal
    columns: jax.Array | None = None
    shrinkage: jax.Array | None = None  #: (k,), what is left of the components along Q

    def __call__(self, vector: jax.Array) -> jax.Array:
        """The inverse times ``vector`` (P,)."""
        scaled = vector / self.root
        if self.columns is None or self.shrinkage is None:
            return scaled / self.root
        along = product(scaled, self.columns)
        rest = scaled - product(self.columns, along)
        return (rest + product(self.columns, self.shrinkage * along)) / self.root


def sketched(linearization: Linearization, rank: int) -> Linearization:
    """The linearization with a sketch of its matrix from ``rank`` products with random vectors,
    always the same ones.

    The Nyström approximation of A = T⁻¹ M T⁻¹: A Ω (Ωᵀ A Ω)⁺ (A Ω)ᵀ, whose error has the trace that
    is missing, spread evenly over the other directions. Memory: twice ``rank`` vectors. Sources: Z.
    Frangella, J. A. Tropp, M. Udell, "Randomized Nyström preconditioning", SIAM J. Matrix Anal.
    Appl. 44 (2023); for Gauss-Newton steps arXiv 2505.11638.
    """
    curvature, diagonal = (
        linearization.curvature,
        jnp.where(linearization.diagonal > 0, linearization.diagonal, 1),
    )
    size, dtype = diagonal.size, diagonal.dtype
    rank, root = min(rank, size), jnp.sqrt(diagonal)
    directions = jax.random.normal(jax.random.key(0), (rank, size), dtype)
    images = jax.lax.map(lambda direction: curvature.product(direction / root) / root, directions)
    between = product(directions, images.T)
    values, vectors = lapack.eigh((between + between.T) / 2)
    kept = values > rank * jnp.finfo(dtype).eps * values[-1]
    inverse_root = jnp.where(kept, vectors * jax.lax.rsqrt(jnp.where(kept, values, 1)), 0)
    columns = product(images.T, inverse_root)
    trace = jnp.sum(linearization.diagonal / diagonal)
    tail = jnp.maximum(trace - jnp.sum(jnp.square(columns)), 0) / max(size - rank, 1)
    finite = jnp.all(jnp.isfinite(columns))
    columns, tail = jnp.where(finite, columns, 0), jnp.where(finite, tail, 1)
    return linearization._replace(curvature=Sketched(curvature, columns, tail, diagonal))


def preconditioner(curvature: Curvature, diagonal: jax.Array, shift: jax.Array) -> Preconditioner:
    """For M + diag(``shift``), from a sketch of M if there is one, else from ``diagonal``, that of
    M.
    """
    if not isinstance(curvature, Sketched):
        return Preconditioner(jnp.sqrt(diagonal + shift))
    # In float32 an inverse that shrinks by more than this has no digits; the diagonal part is
    # raised until it does not.
    most = jnp.finfo(shift.dtype).eps * 10 * jnp.max(jnp.sum(jnp.square(curvature.columns), axis=0))
    root = jnp.sqrt(
        curvature.diagonal * jnp.maximum(curvature.tail + shift / curvature.diagonal, most)
    )
    columns = curvature.columns * (jnp.sqrt(curvature.diagonal) / root)[:, None]
    values, vectors = lapack.eigh(product(columns.T, columns))
    kept = values > values.size * jnp.finfo(shift.dtype).eps * values[-1]
    orthonormal = jnp.matmul(
        columns,
        jnp.where(kept, vectors * jax.lax.rsqrt(jnp.where(kept, values, 1)), 0),
        precision=HIGHEST,
    )
    return Preconditioner(root, orthonormal, 1 / (1 + jnp.where(kept, values, 0)))
