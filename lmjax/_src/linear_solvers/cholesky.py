"""Cholesky factorisation of the normal equations."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lmjax._src.linear_solvers.base import LinearSolver
from lmjax._src.linear_solvers.scaled_cholesky import Factors, pivots, scaled_factor, scaled_solve
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.runtime import precision
from lmjax._src.typing import PyTree


@dataclasses.dataclass(frozen=True)
class Cholesky(LinearSolver):
    """``cho_factor`` / ``cho_solve`` of JᵀJ + λD after symmetric scaling to a unit diagonal.

    P³/3 multiplications per damping, P² per solve. When the matrix is not positive definite in the
    precision at hand the factors, and so the step, are NaN. Source: Å. Björck, "Numerical Methods
    for Least Squares Problems", SIAM 1996, section 2.2.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.Cholesky())
        >>> residuals = lambda p: jnp.exp(p) - jnp.array([2.0, 3.0])
        >>> solution = lmjax.least_squares(residuals, np.zeros(2), solver=solver)
        >>> solution.params.round(4).tolist(), solution.linear_solver
        ([0.6931, 1.0986], 'Cholesky')
    """

    form: ClassVar[Form] = Form.NORMAL

    def factor(
        self, linearization: Linearization, damping: jax.Array, scaling: jax.Array
    ) -> Factors:
        """See :class:`~lmjax.extend.LinearSolver`."""
        return scaled_factor(linearization.curvature.plus_diagonal(damping * scaling))

    def solve(self, factors: Factors, gradient: Gradient) -> jax.Array:
        """See :class:`~lmjax.extend.LinearSolver`."""
        return -scaled_solve(factors, gradient.rest)


#: Pivots of the matrix with unit diagonal that are this many roundings of it leave two or three
#: digits of the step.
_ROUNDINGS = 1e3


def is_ill_conditioned(factors: PyTree) -> jax.Array:
    """Whether a solution with factors of :class:`Cholesky` has lost nearly all digits; False for
    those of other solvers.
    """
    if not isinstance(factors, Factors):
        return jnp.asarray(False)
    shares = pivots(factors)
    with precision.kept(shares.dtype):
        return ~(jnp.min(shares) > _ROUNDINGS * shares.size * float(jnp.finfo(shares.dtype).eps))
