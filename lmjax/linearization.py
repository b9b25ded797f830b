"""What a step needs to know of the cost around the current parameters, and what computes it."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp


class Linearization(NamedTuple):
    """The Gauss-Newton model of the cost at the current parameters (P of them).

    The cost is ½‖r‖² for residuals r, or a convex loss whose generalized Gauss-Newton matrix takes the place of
    JᵀJ (N. N. Schraudolph, "Fast curvature matrix-vector products", Neural Computation 14, 2002).
    """

    values: Any  #: what the cost is summed from, kept so that reductions need no subtraction of large sums
    cost: jax.Array  #: scalar
    gradient: jax.Array  #: Jᵀr, shape (P,)
    gauss_newton_matrix: jax.Array  #: JᵀJ, shape (P, P)
    free: jax.Array | None = None  #: which parameters may move, shape (P,); None for all

    @property
    def diagonal(self) -> jax.Array:
        """diag(JᵀJ), shape (P,)."""
        return jnp.diagonal(self.gauss_newton_matrix)


class Objective(Protocol):
    """A cost over a flat parameter vector; implementations are pytrees whose array leaves are the data."""

    def evaluate(self, params: jax.Array) -> Any:
        """The values (a pytree of arrays) from which the cost at ``params`` (P,) is summed."""

    def cost(self, values: Any) -> jax.Array:
        """The scalar cost of :meth:`evaluate`'s values."""

    def reduction(self, before: Any, after: Any) -> jax.Array:
        """cost(before) - cost(after), summed from differences to keep its digits."""

    def linearize(self, params: jax.Array) -> Linearization:
        """The Gauss-Newton model at ``params`` (P,)."""

    def curvature_gradient(self, params: jax.Array, velocity: jax.Array) -> jax.Array:
        """Jᵀ r_vv, shape (P,), with r_vv the second derivative of the residuals along ``velocity`` (P,)."""


def restrict(linearization: Linearization, free: jax.Array) -> Linearization:
    """The model with the parameters where ``free`` (P,) is False held fixed: their step comes out as zero."""
    both = free[:, None] & free[None, :]
    matrix = linearization.gauss_newton_matrix
    fixed_diagonal = jnp.where(free, 0, jnp.ones_like(linearization.gradient))
    return linearization._replace(
        free=free,
        gradient=jnp.where(free, linearization.gradient, 0),
        gauss_newton_matrix=jnp.where(both, matrix, 0) + jnp.diag(fixed_diagonal),
    )
