"""Cholesky factorisation in the space of the residuals, for fewer residuals than parameters."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.linear_solvers.base import LinearSolver
from lmjax._src.linear_solvers.scaled_cholesky import Factors, scaled_factor, scaled_solve
from lmjax._src.objectives.curvature import Dual, Form
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.runtime import precision
from lmjax._src.typing import DType


class _Factors(NamedTuple):
    curvature: Dual
    factors: Factors  #: of λI + J W Jᵀ, (m, m)
    weights: jax.Array  #: W
    inverse: jax.Array  #: W/λ
    damping: jax.Array  #: λ
    dtype: DType  #: of J W Jᵀ


@dataclasses.dataclass(frozen=True)
class DualCholesky(LinearSolver):
    """step = -W Jᵀ (λI + J W Jᵀ)⁻¹ r with W = D⁻¹: the step of the normal equations from an (m, m)
    system.

    m²P multiplications for the matrix and m³/3 for the factors instead of mP² and P³/3. J is used
    through products only, so an objective that knows J W Jᵀ from the structure of its model need
    not form J. A gradient that is no Jᵀ r (a penalty's) is solved by the Sherman-Morrison-Woodbury
    formula, which loses digits as λ falls. Source: C. Saunders, A. Gammerman, V. Vovk, "Ridge
    regression learning algorithm in dual variables", ICML 1998; the scaling to a unit diagonal is
    that of :class:`~lmjax.Cholesky`.

    Example:
        One residual for three parameters.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.DualCholesky())
        >>> residuals = lambda p: jnp.sum(p**2)[None] - 3
        >>> solution = lmjax.least_squares(residuals, np.full(3, 2.0), solver=solver)
        >>> solution.params.round(6).tolist(), solution.linear_solver
        ([1.0, 1.0, 1.0], 'DualCholesky')
    """

    form: ClassVar[Form] = Form.DUAL

    def factor(
        self, linearization: Linearization, damping: jax.Array, scaling: jax.Array
    ) -> _Factors:
        """See :class:`~lmjax.extend.LinearSolver`."""
        curvature: Dual = linearization.curvature
        # With a ridge R the damping is λD + R = λW⁻¹.
        inverse = 1 / (damping * scaling + (0 if curvature.ridge is None else curvature.ridge))
        weights = 1 / scaling if curvature.ridge is None else damping * inverse
        gram = curvature.gram(weights)
        with precision.kept(gram.dtype):
            damped = gram + jnp.asarray(damping, gram.dtype) * jnp.eye(
                gram.shape[0], dtype=gram.dtype
            )
        return _Factors(curvature, scaled_factor(damped), weights, inverse, damping, gram.dtype)

    def solve(self, factors: _Factors, gradient: Gradient) -> Vector:
        """See :class:`~lmjax.extend.LinearSolver`."""
        curvature, rows = factors.curvature, gradient.rows
        if gradient.rest is not None:
            pushed = curvature.push(vectors.multiply(factors.inverse, gradient.rest))
            rows = -pushed if rows is None else rows - pushed
        step = self._within_range(factors, rows)
        return (
            step
            if gradient.rest is None
            else vectors.add(step, vectors.multiply(-factors.inverse, gradient.rest))
        )

    def _within_range(self, factors: _Factors, rows: jax.Array) -> Vector:
        """-W Jᵀ u with (λI + J W Jᵀ) u = ``rows``.

        By as much as these lie outside of J's range u is longer than the step, and its rounding in
        Jᵀ u counts as much more. Where the factors are in double they know it better: one
        refinement by what is left of the equation, in which J W Jᵀ u comes from the step.
        """
        curvature, dtype = factors.curvature, factors.dtype
        if dtype == rows.dtype:
            return curvature.pull(scaled_solve(factors.factors, rows), -factors.weights)
        with precision.kept(dtype):
            right, damping = rows.astype(dtype), jnp.asarray(factors.damping, dtype)
            solution = scaled_solve(factors.factors, right)
            rounded = solution.astype(rows.dtype)
        step = curvature.pull(rounded, -factors.weights)
        pushed = curvature.push(step)
        with precision.kept(dtype):
            left = right + pushed.astype(dtype) - damping * solution
            correction = scaled_solve(factors.factors, left).astype(rows.dtype)
        return vectors.add(step, curvature.pull(correction, -factors.weights))
