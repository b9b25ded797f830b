"""The answer of a least-squares problem, and the statistics that belong to it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax import checks, precision
from lmjax.bounds import Bounds
from lmjax.objectives import ResidualObjective
from lmjax.orthogonal import factor_columns
from lmjax.status import Status


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solution:
    """What :func:`lmjax.least_squares` found. A pytree, so that it can leave a function under ``jit`` or ``vmap``.

    Attributes:
        params: the best parameters, structured and shaped as they were given.
        cost: ½‖r‖² there.
        status_code: the integer code of :attr:`status`; an array of codes under ``vmap``.
        num_steps: accepted steps.
        num_evaluations: evaluations of the residuals, those inside a linearization counted once.
    """

    params: Any
    cost: Any
    status_code: Any
    num_steps: Any
    num_evaluations: Any
    _flat: Any = dataclasses.field(repr=False)
    _objective: ResidualObjective = dataclasses.field(repr=False)
    _bounds: Bounds | None = dataclasses.field(repr=False)

    @property
    def status(self) -> Status:
        """Why the run stopped; ``.success`` and ``.message``. Outside ``jit`` and for one problem only."""
        return Status(int(self.status_code))

    def covariance(self, absolute_sigma: bool = False) -> Any:
        """The covariance of the flattened parameters, shape (P, P), in units of params × params.

        s² (JᵀJ)⁻¹ with s² = ‖r‖² / (m - P) for m residuals (G. A. F. Seber, C. J. Wild, "Nonlinear Regression",
        1989, ch. 2), from the QR factorisation of J with its columns scaled to length one, so that JᵀJ, which would
        square the condition number, is never formed. Parameters that rest on a bound count as fixed: their rows
        and columns are zero. All entries are infinite where the data do not determine the parameters: m ≤ P, or J
        without full rank in the precision at hand. With ``absolute_sigma`` the residuals are taken to be in units of
        their known standard deviations, and s² is one.
        """
        if precision.is_traced(self):
            return _covariance(self._objective, self._bounds, self._flat, absolute_sigma)
        with precision.scope(self._flat.dtype):
            covariance = _covariance_compiled(self._objective, self._bounds, self._flat, absolute_sigma)
        return checks.returned(covariance, self._flat.dtype)

    def standard_errors(self) -> Any:
        """The square roots of the covariance's diagonal, structured and shaped as ``params``."""
        covariance = self.covariance()
        library = np if isinstance(covariance, np.ndarray) else jnp
        return self._objective.structure.unflatten(library.sqrt(library.diagonal(covariance)))


def _covariance(objective: ResidualObjective, bounds: Bounds | None, flat: jax.Array, absolute_sigma: bool) -> jax.Array:
    flat = jnp.asarray(flat)
    residuals, jacobian = objective.residuals_and_jacobian(flat)
    free = jnp.ones_like(flat, bool) if bounds is None else (flat > bounds.lower) & (flat < bounds.upper)
    triangle, _, lengths = factor_columns(jnp.where(free, jacobian, 0))
    inverse = jax.scipy.linalg.solve_triangular(triangle, jnp.eye(flat.size, dtype=flat.dtype)) / lengths[:, None]
    degrees = residuals.size - jnp.sum(free)
    # A parameter without influence is a zero column, which the factorisation passes over; a fixed one was made into one.
    influential = jnp.any(jacobian != 0, axis=0) | ~free
    pivots = jnp.abs(jnp.diagonal(triangle))
    determined = ((degrees > 0) | absolute_sigma) & jnp.all(influential) & (jnp.min(pivots) > flat.size * jnp.finfo(flat.dtype).eps)
    variance = 1.0 if absolute_sigma else 2 * objective.cost(residuals) / jnp.maximum(degrees, 1)
    covariance = jnp.matmul(inverse, inverse.T, precision="highest") * variance
    return jnp.where(determined, jnp.where(free[:, None] & free[None, :], covariance, 0), jnp.inf)


_covariance_compiled = jax.jit(_covariance, static_argnums=3)
