"""The penalty on the parameters that stands beside a mean loss: its value, slope and curvature."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from lmjax._src.arrays import vectors
from lmjax._src.arrays.structure import Structure
from lmjax._src.arrays.vectors import Vector
from lmjax._src.objectives.curvature import NormalMatrix
from lmjax._src.objectives.penalties.orthogonality import Orthogonality


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Penalty:
    """Σ l2 params² + Σ l1 |params| + Σ over matrices of their :class:`Orthogonality`; factors are
    data of the compiled step.

    The value is exact. The second sum has no curvature: it is linear on either side of zero, and
    steps with it stay on one side, within :class:`lmjax._src.levenberg_marquardt.active_set.
    Orthants`. Where a parameter is zero its slope is the one that makes the gradient of the whole
    cost the least (G. Andrew, J. Gao, "Scalable training of L1-regularized log-linear models", ICML
    2007). The third is squares of residuals, which are further rows where J is made.
    """

    l2: jax.Array | None = None  #: a diagonal beside the params
    l1: jax.Array | None = None  #: (P,); only for params that are an array
    orthogonal: tuple[Orthogonality, ...] = ()  #: likewise

    def value(self, params: Vector) -> jax.Array:
        """A scalar."""
        value = jnp.zeros((), vectors.dtype(params))
        if self.l2 is not None:
            value = value + vectors.quadratic(params, self.l2)
        if self.l1 is not None:
            value = value + jnp.vdot(self.l1, jnp.abs(params))
        for term in self.orthogonal:
            value = value + term.value(params)
        return value

    def slope(self, params: Vector, gradient: Vector) -> Vector:
        """What it adds to the ``gradient`` of all else."""
        slope = None if self.l2 is None else vectors.multiply(2 * self.l2, params)
        for term in self.orthogonal:
            own = term.slope(params)
            slope, gradient = own if slope is None else slope + own, gradient + own
        if self.l1 is None:
            return jax.tree.map(jnp.zeros_like, params) if slope is None else slope
        # At zero a slope of ``l2`` is zero as well.
        least = -jnp.clip(gradient, -self.l1, self.l1)
        kinked = jnp.where(params == 0, least, self.l1 * jnp.sign(params))
        return kinked if slope is None else slope + kinked

    @property
    def ridge(self) -> jax.Array | None:
        """The diagonal of its curvature beside the params; None for zero."""
        return None if self.l2 is None else 2 * self.l2

    @property
    def num_rows(self) -> int:
        """Of the residuals whose squares are its :class:`Orthogonality`."""
        return sum(term.num_pairs for term in self.orthogonal)

    def beside_rows(self) -> Penalty | None:
        """The part that is no squares of residuals; None without any."""
        if self.l2 is None and self.l1 is None:
            return None
        return dataclasses.replace(self, orthogonal=())

    def curved(self, curvature: NormalMatrix, params: jax.Array) -> NormalMatrix:
        """The Gauss-Newton matrix with its curvature."""
        if self.ridge is not None:
            curvature = NormalMatrix(curvature.plus_diagonal(self.ridge))
        for term in self.orthogonal:
            curvature = NormalMatrix(term.added_to(curvature.matrix, params))
        return curvature

    def product(self, params: jax.Array, vector: jax.Array) -> jax.Array:
        """Its curvature times a vector, (P,)."""
        total = jnp.zeros_like(vector) if self.ridge is None else self.ridge * vector
        for term in self.orthogonal:
            total = total + term.product(params, vector)
        return total

    def diagonal(self, params: jax.Array) -> jax.Array:
        """That of its curvature, (P,)."""
        total = jnp.zeros_like(params) if self.ridge is None else self.ridge
        for term in self.orthogonal:
            total = total + term.diagonal(params)
        return total

    def with_rows(
        self, params: jax.Array, jacobian: jax.Array, residuals: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """J (m, P) and residuals (m,) with those that are its :class:`Orthogonality` below."""
        more = [(term.jacobian(params), term.residuals(params)) for term in self.orthogonal]
        if not more:
            return jacobian, residuals
        below, beside = zip(*more, strict=True)
        return jnp.concatenate([jacobian, *below]), jnp.concatenate([residuals, *beside])

    def curvature_gradient(
        self, params: jax.Array, velocity: jax.Array, gradient: jax.Array
    ) -> jax.Array:
        """The right-hand side of an acceleration, (P,), with what it adds."""
        for term in self.orthogonal:
            gradient = gradient + term.curvature_gradient(params, velocity)
        return gradient

    def curvature_rows(self, params: jax.Array, velocity: jax.Array, rows: jax.Array) -> jax.Array:
        """The same in rows, (m,), with those of :meth:`with_rows`."""
        more = [term.curvature_rows(params, velocity) for term in self.orthogonal]
        return jnp.concatenate([rows, *more]) if more else rows

    def by_arrays(self, structure: Structure) -> Penalty:
        """The same beside params that are a list of arrays; ``l2`` is the same throughout each."""
        return Penalty(None if self.l2 is None else structure.firsts(self.l2))
