"""Cholesky factorisation of the normal equations."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from lmjax.curvature import Form
from lmjax.linearization import Gradient, Linearization


class _Factors(NamedTuple):
    triangle: jax.Array
    row_scale: jax.Array


@dataclasses.dataclass(frozen=True)
class Cholesky:
    """``cho_factor`` / ``cho_solve`` of JᵀJ + λD after symmetric scaling to a unit diagonal.

    The scaling (Jacobi's) makes the answer independent of the parameters' units and costs nothing beside the
    factorisation; by A. van der Sluis (Numer. Math. 14, 1969) it is within a factor P of the best diagonal one.
    P³/3 multiplications per damping, P² per solve. When the matrix is not positive definite in the precision at
    hand the factors, and so the step, are NaN.
    """

    form: ClassVar[Form] = Form.NORMAL

    def factor(self, linearization: Linearization, damping: jax.Array, scaling: jax.Array) -> _Factors:
        """See :class:`~lmjax.linear_solvers.LinearSolver`."""
        matrix = linearization.curvature.matrix + jnp.diag(damping * scaling)
        row_scale = jax.lax.rsqrt(jnp.diagonal(matrix))
        triangle, _ = cho_factor(matrix * row_scale[:, None] * row_scale[None, :], lower=True)
        return _Factors(triangle, row_scale)

    def solve(self, factors: _Factors, gradient: Gradient) -> jax.Array:
        """See :class:`~lmjax.linear_solvers.LinearSolver`."""
        return -factors.row_scale * cho_solve((factors.triangle, True), factors.row_scale * gradient.rest)
