"""The contract of a linear solver: factor once per damping, then solve for as many gradients as
needed.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol, runtime_checkable

import jax

from lmjax._src.arrays.vectors import Vector
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.objectives.objective import Objective
from lmjax._src.typing import PyTree


class LinearSolver(Protocol):
    """Solves (M + λD) step = -gradient for the Gauss-Newton matrix M of P parameters.

    Implementations are frozen and hashable; their methods are pure and traced. A system that cannot
    be factored gives a step of NaN, which the caller rejects; nothing is raised. The step of a
    parameter whose row of M and component of the gradient are zero, as those of parameters that are
    held fixed are, is zero without rounding. Arrays have the
    dtype of the parameters; JᵀJ may be in double where they are single. With :attr:`Form.DUAL
    <lmjax.extend.Form>` parameters, gradients and steps may be lists of arrays, and D one number
    for each.

    Example:
        >>> import dataclasses
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> @dataclasses.dataclass(frozen=True)
        ... class LU(lmjax.extend.LinearSolver):
        ...     form = lmjax.extend.Form.NORMAL
        ...
        ...     def factor(self, linearization, damping, scaling):
        ...         return linearization.curvature.plus_diagonal(damping * scaling)
        ...
        ...     def solve(self, factors, gradient):
        ...         step = -jnp.linalg.solve(factors, gradient.rest.astype(factors.dtype))
        ...         return step.astype(gradient.rest.dtype)
        >>> solver = lmjax.LevenbergMarquardt(linear_solver=LU())
        >>> residuals = lambda p: jnp.exp(p) - jnp.array([2.0, 3.0])
        >>> solution = lmjax.least_squares(residuals, np.zeros(2), solver=solver)
        >>> solution.params.round(6).tolist(), solution.linear_solver
        ([0.693147, 1.098612], 'LU')
    """

    @property
    @abstractmethod
    def form(self) -> Form:
        """The form in which it needs M; a class attribute will do."""

    @abstractmethod
    def factor(
        self, linearization: Linearization, damping: jax.Array, scaling: jax.Array
    ) -> PyTree:
        """Factors the damped system, for :meth:`solve` alone.

        Args:
            linearization: the model as :meth:`prepare` gave it; its ``curvature`` is M in the
                :attr:`form` that was asked for.
            damping: λ, a scalar, at least 0.
            scaling: D, (P,), positive.

        Returns:
            Any pytree of arrays.
        """

    @abstractmethod
    def solve(self, factors: PyTree, gradient: Gradient) -> Vector:
        """The step for one gradient.

        Args:
            factors: what :meth:`factor` returned.
            gradient: the vector Jᵀ ``gradient.rows`` + ``gradient.rest``. Solvers of the forms that
                have J, ``JACOBIAN`` and ``DUAL``, get either, or both; the others all of it as
                ``rest``, (P,).

        Returns:
            The step, (P,), in units of the parameters.
        """

    def prepare(self, linearization: Linearization) -> Linearization:
        """Adds to a linearization what serves all dampings that are tried on it; called once,
        before :meth:`factor`.

        Args:
            linearization: the model at the current parameters.

        Returns:
            The model for :meth:`factor`; here the same one.
        """
        return linearization

    def truncated(
        self,
        linearization: Linearization,
        damping: jax.Array,
        scaling: jax.Array,
        radius: jax.Array,
    ) -> tuple[PyTree, Vector] | None:
        """A step that ends where it would leave a trust region.

        Args:
            linearization: the model as :meth:`prepare` gave it.
            damping: λ, a scalar, at least 0.
            scaling: D, (P,), positive.
            radius: the longest step, a positive scalar, in the norm √(stepᵀ D step).

        Returns:
            (factors, step): what :meth:`factor` gives, and the step, (P,). None, as here, from
            solvers whose steps have no ends on the way: a trust region then looks for the λ whose
            step is as long.
        """
        return None


@runtime_checkable
class LinearSolverChoice(Protocol):
    """Chooses a :class:`LinearSolver` once shapes are known; frozen and hashable, too.

    Example:
        >>> import dataclasses
        >>> import numpy as np
        >>> import lmjax
        >>> @dataclasses.dataclass(frozen=True)
        ... class QRWhereSmall(lmjax.extend.LinearSolverChoice):
        ...     most: int = 50
        ...
        ...     def choose(self, objective, params):
        ...         if objective.num_residuals(params) <= self.most:
        ...             return lmjax.QR()
        ...         return lmjax.Auto().choose(objective, params)
        >>> solver = lmjax.LevenbergMarquardt(linear_solver=QRWhereSmall())
        >>> lmjax.least_squares(lambda p: p - 1, np.zeros(3), solver=solver).linear_solver
        'QR'
    """

    @abstractmethod
    def choose(self, objective: Objective, params: Vector) -> LinearSolver:
        """The solver for an objective; may be called while tracing.

        Args:
            objective: the cost, of which only shapes are known.
            params: the parameters, (P,), of which only shape and dtype are known.

        Returns:
            A :class:`LinearSolver`.
        """

    def choose_for_ill_conditioned(
        self, objective: Objective, params: jax.Array
    ) -> LinearSolver | None:
        """The solver to go on with where normal equations have lost nearly all digits.

        Args:
            objective: the cost.
            params: where the run has stopped, (P,).

        Returns:
            A :class:`LinearSolver`, or None, as here, for the same one.
        """
        return None
