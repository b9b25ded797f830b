"""The penalty on the parameters that stands beside a mean loss: its value, slope and curvature."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from lmjax._src.arrays import vectors
from lmjax._src.arrays.structure import Structure
from lmjax._src.arrays.vectors import Vector
from lmjax._src.objectives.curvature import NormalMatrix


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Penalty:
    """Σ l2 params² + Σ l1 |params|; factors are data of the compiled step.

    The value is exact. The second sum has no curvature: it is linear on either side of zero, and
    steps with it stay on one side, within :class:`lmjax._src.levenberg_marquardt.active_set.
    Orthants`. Where a parameter is zero its slope is the one that makes the gradient of the whole
    cost the least (G. Andrew, J. Gao, "Scalable training of L1-regularized log-linear models", ICML
    2007).
    """

    l2: jax.Array | None = None  #: a diagonal beside the params
    l1: jax.Array | None = None  #: (P,); only for params that are an array

    def value(self, params: Vector) -> jax.Array:
        """A scalar."""
        value = jnp.zeros((), vectors.dtype(params))
        if self.l2 is not None:
            value = value + vectors.quadratic(params, self.l2)
        if self.l1 is not None:
            value = value + jnp.vdot(self.l1, jnp.abs(params))
        return value

    def slope(self, params: Vector, gradient: Vector) -> Vector:
        """What it adds to the ``gradient`` of all else."""
        slope = None if self.l2 is None else vectors.multiply(2 * self.l2, params)
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

    def curved(self, matrix: NormalMatrix) -> NormalMatrix:
        """The Gauss-Newton ``matrix`` with its curvature."""
        return matrix if self.ridge is None else NormalMatrix(matrix.plus_diagonal(self.ridge))

    def by_arrays(self, structure: Structure) -> Penalty:
        """The same beside params that are a list of arrays; ``l2`` is the same throughout each."""
        return Penalty(None if self.l2 is None else structure.firsts(self.l2))
