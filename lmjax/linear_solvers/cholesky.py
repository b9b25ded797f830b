"""Cholesky factorisation of the normal equations."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from lmjax.curvature import Form
from lmjax.linear_solvers.small import MAX_ROWS, SmallFactors, small_diagonal, small_factor, small_solve
from lmjax.linearization import Gradient, Linearization


class _Factors(NamedTuple):
    triangle: jax.Array | SmallFactors
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
        small = scaling.size <= MAX_ROWS
        row_scale = jax.lax.rsqrt(small_diagonal(matrix) if small else jnp.diagonal(matrix))
        scaled = matrix * row_scale[:, None] * row_scale[None, :]
        return _Factors(small_factor(scaled) if small else cho_factor(scaled, lower=True)[0], row_scale)

    def solve(self, factors: _Factors, gradient: Gradient) -> jax.Array:
        """See :class:`~lmjax.linear_solvers.LinearSolver`."""
        target = factors.row_scale * gradient.rest
        if isinstance(factors.triangle, SmallFactors):
            return -factors.row_scale * small_solve(factors.triangle, target)
        return -factors.row_scale * cho_solve((factors.triangle, True), target)
