"""Orthogonal factorisation of the stacked system."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays import lapack
from lmjax._src.arrays.products import product
from lmjax._src.linear_solvers.base import LinearSolver
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.linearization import Gradient, Linearization


class _Factors(NamedTuple):
    triangle: jax.Array  #: R of the column-scaled stack, (P, P)
    orthogonal: jax.Array  #: the rows of Q that belong to J, (m, P)
    lengths: jax.Array  #: of the stack's columns, (P,)


@dataclasses.dataclass(frozen=True)
class QR(LinearSolver):
    """Householder QR of [J; √(λD)] with its columns scaled to length one, for ill-conditioned
    problems.

    JᵀJ, which squares the condition number, is never formed: steps keep their digits up to a
    condition number of 1/ε, where those of :class:`Cholesky` lose them at 1/√ε. About 2(m + P)P²
    multiplications a damping (with the explicit Q), memory for J and Q. Source: Å. Björck,
    "Numerical Methods for Least Squares Problems", SIAM 1996, sections 2.3 and 2.7.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.QR())
        >>> residuals = lambda p: jnp.exp(p) - jnp.array([2.0, 3.0])
        >>> solution = lmjax.least_squares(residuals, np.zeros(2), solver=solver)
        >>> solution.params.round(4).tolist(), solution.linear_solver
        ([0.6931, 1.0986], 'QR')
    """

    form: ClassVar[Form] = Form.JACOBIAN

    def factor(
        self, linearization: Linearization, damping: jax.Array, scaling: jax.Array
    ) -> _Factors:
        """See :class:`~lmjax.extend.LinearSolver`."""
        jacobian, ridge = linearization.curvature.jacobian, linearization.curvature.ridge
        below = jnp.sqrt(damping * scaling + (0 if ridge is None else ridge))
        # By the largest entry first: squares of long columns would overflow, those of short ones
        # vanish.
        largest = jnp.maximum(jnp.max(jnp.abs(jacobian), axis=0), below)
        lengths = largest * jnp.sqrt(
            jnp.sum(jnp.square(jacobian / largest), axis=0) + jnp.square(below / largest)
        )
        orthogonal, triangle = lapack.qr(
            jnp.concatenate([jacobian / lengths, jnp.diag(below / lengths)])
        )
        return _Factors(triangle, orthogonal[: jacobian.shape[0]], lengths)

    def solve(self, factors: _Factors, gradient: Gradient) -> jax.Array:
        """See :class:`~lmjax.extend.LinearSolver`."""
        right = jnp.zeros_like(factors.lengths)
        if gradient.rows is not None:
            right = product(gradient.rows, factors.orthogonal)
        if gradient.rest is not None:
            right = right + lapack.solve_transposed_triangle(
                factors.triangle, gradient.rest / factors.lengths
            )
        return -lapack.solve_triangle(factors.triangle, right) / factors.lengths
