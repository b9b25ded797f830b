"""A penalty on the cosines between the rows of a matrix among the parameters, or its columns."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.products import HIGHEST, product
from lmjax._src.runtime import precision
from lmjax._src.typing import DType

#: The least length by which Keras divides a vector (``keras.config.epsilon()``, as it is set).
SHORTEST = 1e-7
#: How near to zero a cosine is for its absolute value to count as smooth. Much nearer, curvatures
#: become so large that the damping that suits them holds all other directions.
NEAR = 1e-5


class _Cosines(NamedTuple):
    """What derivatives at a matrix are made of, for its n rows of d numbers (of its transpose where
    columns are penalized).
    """

    directions: jax.Array  #: (n, d), of unit length
    lengths: jax.Array  #: (n, 1)
    cosines: jax.Array  #: (n, n)
    curvatures: jax.Array  #: of the penalty in each cosine, (n, n); zero on the diagonal

    @property
    def derivatives(self) -> jax.Array:
        """(n, n, d): at [i, j] that of the cosine of i and j by row i."""
        beside = self.directions[None] - self.cosines[:, :, None] * self.directions[:, None]
        return beside / self.lengths[:, None]

    def pull(self, weights: jax.Array) -> jax.Array:
        """Σ over pairs of a symmetric (n, n) times the derivatives of their cosines, (n, d)."""
        towards = product(weights, self.directions)
        along = jnp.sum(towards * self.directions, axis=1, keepdims=True)
        return (towards - along * self.directions) / self.lengths

    def push(self, change: jax.Array) -> jax.Array:
        """The derivatives of all cosines along a change of the rows (n, d), (n, n)."""
        along = jnp.sum(change * self.directions, axis=1, keepdims=True)
        half = product((change - along * self.directions) / self.lengths, self.directions.T)
        return half + half.T


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Orthogonality:
    """``factor`` times the mean of abs(cos) over the pairs of rows of a matrix, or of columns:
    Keras' ``OrthogonalRegularizer``.

    The value is exact. For steps every absolute value is the parabola that touches it on both sides
    of zero and lies above it elsewhere, of curvature 1/abs(cos), at least 1/:data:`NEAR`
    (iteratively reweighted least squares: E. J. Schlossmacher, Journal of the American Statistical
    Association 68, 1973; such majorizers: K. Lange, "Numerical Analysis for Statisticians", 2010,
    chapter 12), of the cosines as they are linearized (Gauss-Newton). So cosines that belong at
    zero end within :data:`NEAR` of it. A row shorter than :data:`SHORTEST` has no direction: its
    cosines have neither slope nor curvature, and count by their values only.
    """

    factor: jax.Array  #: a scalar, at least 0
    #: the place of the matrix in the vector of parameters
    start: int = dataclasses.field(metadata={"static": True})
    shape: tuple[int, int] = dataclasses.field(metadata={"static": True})
    by_columns: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def count(self) -> int:
        """n, the rows that are compared, or columns."""
        return self.shape[1 if self.by_columns else 0]

    @property
    def num_pairs(self) -> int:
        """n (n - 1) / 2."""
        return self.count * (self.count - 1) // 2

    def value(self, params: jax.Array) -> jax.Array:
        """A scalar, for ``params`` (P,)."""
        directions, _ = _directions(self._rows(params))
        sizes = jnp.abs(product(directions, directions.T))
        apart = jnp.where(np.eye(self.count, dtype=bool), 0, sizes)
        return self.factor * 0.5 * jnp.sum(apart) / self.num_pairs

    def slope(self, params: jax.Array) -> jax.Array:
        """The derivative, (P,), in the sense of the class."""
        at = self._at(params)
        return self._spread(at.pull(at.curvatures * at.cosines), params)

    def product(self, params: jax.Array, vector: jax.Array) -> jax.Array:
        """Its Gauss-Newton matrix times a vector, (P,)."""
        at = self._at(params)
        return self._spread(at.pull(at.curvatures * at.push(self._rows(vector))), params)

    def diagonal(self, params: jax.Array) -> jax.Array:
        """That of its Gauss-Newton matrix, (P,)."""
        at = self._at(params)
        # Without the (n, n, d) numbers of the derivatives: this form serves where those are many.
        weighted = at.curvatures * at.cosines
        squares = (
            product(at.curvatures, jnp.square(at.directions))
            - 2 * at.directions * product(weighted, at.directions)
            + jnp.square(at.directions) * jnp.sum(weighted * at.cosines, axis=1, keepdims=True)
        )
        return self._spread(jnp.maximum(squares, 0) / jnp.square(at.lengths), params)

    def added_to(self, matrix: jax.Array, params: jax.Array) -> jax.Array:
        """``matrix`` (P, P) plus its Gauss-Newton matrix, in the dtype of ``matrix``."""
        size, dtype = math.prod(self.shape), matrix.dtype
        with precision.kept(dtype):
            at = self._at(params, dtype)
            rows, weighted = at.derivatives, at.curvatures[:, :, None] * at.derivatives
            block = jnp.einsum("kla,lkb->kalb", weighted, rows)
            index = np.arange(self.count)
            own = jnp.einsum("kla,klb->kab", weighted, rows, precision=HIGHEST)
            block = block.at[index, :, index].add(own)
            if self.by_columns:
                block = block.transpose(1, 0, 3, 2)
            place = slice(self.start, self.start + size)
            return matrix.at[place, place].add(block.reshape(size, size))

    def residuals(self, params: jax.Array) -> jax.Array:
        """(pairs,), whose derivatives are :meth:`jacobian` while curvatures are held."""
        at, (one, other) = self._at(params), self._pairs
        return jnp.sqrt(at.curvatures[one, other]) * at.cosines[one, other]

    def jacobian(self, params: jax.Array) -> jax.Array:
        """(pairs, P); times its transpose it is the Gauss-Newton matrix."""
        at, (one, other), index = self._at(params), self._pairs, np.arange(self.num_pairs)
        roots, rows = jnp.sqrt(at.curvatures[one, other])[:, None], at.derivatives
        jacobian = jnp.zeros((self.num_pairs, *at.directions.shape), rows.dtype)
        jacobian = jacobian.at[index, one].set(roots * rows[one, other])
        jacobian = jacobian.at[index, other].set(roots * rows[other, one])
        return jax.vmap(lambda row: self._spread(row, params))(jacobian)

    def second(self, params: jax.Array, velocity: jax.Array) -> jax.Array:
        """Second derivatives of all cosines along ``velocity`` (P,), times their curvatures, (n,
        n).
        """
        direction = self._rows(velocity)

        def first(rows: jax.Array) -> jax.Array:
            return jax.jvp(_cosines, (rows,), (direction,))[1]

        rows = self._rows(params)
        return self._at(params).curvatures * jax.jvp(first, (rows,), (direction,))[1]

    def curvature_gradient(self, params: jax.Array, velocity: jax.Array) -> jax.Array:
        """What it adds to the right-hand side of the acceleration, (P,)."""
        return self._spread(self._at(params).pull(self.second(params, velocity)), params)

    def curvature_rows(self, params: jax.Array, velocity: jax.Array) -> jax.Array:
        """The same as :meth:`residuals` have it, (pairs,)."""
        one, other = self._pairs
        roots = jnp.sqrt(self._at(params).curvatures[one, other])
        return self.second(params, velocity)[one, other] / jnp.where(roots > 0, roots, 1)

    @property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        one, other = np.triu_indices(self.count, 1)
        return one, other

    def _rows(self, vector: jax.Array) -> jax.Array:
        """The part of a vector (P,) that is the matrix, (n, d)."""
        matrix = vector[self.start : self.start + math.prod(self.shape)].reshape(self.shape)
        return matrix.T if self.by_columns else matrix

    def _spread(self, rows: jax.Array, params: jax.Array) -> jax.Array:
        """(n, d) as a vector (P,), zero elsewhere."""
        part = (rows.T if self.by_columns else rows).reshape(-1)
        return jnp.pad(part, (self.start, params.size - self.start - part.size))

    def _at(self, params: jax.Array, dtype: DType | None = None) -> _Cosines:
        rows = self._rows(params)
        rows = rows if dtype is None else rows.astype(dtype)
        directions, lengths = _directions(rows)
        cosines = product(directions, directions.T)
        known = lengths[:, 0] > SHORTEST
        counted = known[:, None] & known[None] & ~np.eye(self.count, dtype=bool)
        share = self.factor.astype(rows.dtype) / self.num_pairs
        curvatures = jnp.where(counted, share / jnp.maximum(jnp.abs(cosines), NEAR), 0)
        return _Cosines(directions, lengths, cosines, curvatures)


def _directions(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rows (n, d) over their lengths (n, 1), which are at least :data:`SHORTEST`."""
    squares = jnp.sum(jnp.square(rows), axis=1, keepdims=True)
    # A root of zero has no derivative, also where it is not taken.
    long = squares > SHORTEST**2
    lengths = jnp.where(long, jnp.sqrt(jnp.where(long, squares, 1)), SHORTEST)
    return rows / lengths, lengths


def _cosines(rows: jax.Array) -> jax.Array:
    directions, _ = _directions(rows)
    return product(directions, directions.T)
