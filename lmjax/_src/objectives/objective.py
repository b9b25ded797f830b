"""What the method asks of a cost that it lowers."""

from __future__ import annotations

from typing import ClassVar, Protocol

import jax

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.typing import PyTree


class Objective(Protocol):
    """A cost over a vector of P parameters; implementations are pytrees whose array leaves are the
    data.

    lmjax makes them of residual functions and of models with their data. A
    :class:`LinearSolverChoice` gets one, and asks it for sizes; those methods look at shapes alone.

    Attributes:
        is_mean: whether the cost is a mean over rows, whose rounding is that of as many accidents,
            and not a sum of a few residuals.

    Example:
        Sizes that a choice of the linear solver may depend on.

        >>> import dataclasses
        >>> import numpy as np
        >>> import lmjax
        >>> @dataclasses.dataclass(frozen=True)
        ... class Sizes(lmjax.extend.LinearSolverChoice):
        ...     def choose(self, objective, params):
        ...         print(params.size, "parameters,", objective.num_residuals(params), "residuals")
        ...         print(objective.form_bytes(params, lmjax.extend.Form.NORMAL), "bytes for M")
        ...         return lmjax.Cholesky()
        >>> solver = lmjax.LevenbergMarquardt(
        ...     linear_solver=Sizes(), second_run=False, geodesic_acceleration=False
        ... )
        >>> solution = lmjax.least_squares(lambda p: p - 1, np.zeros(3), solver=solver)
        3 parameters, 3 residuals
        72 bytes for M
    """

    is_mean: ClassVar[bool]

    def evaluate(self, params: Vector) -> PyTree:
        """The values from which the cost is summed.

        Args:
            params: (P,).

        Returns:
            A pytree of arrays.
        """

    def cost(self, values: PyTree) -> jax.Array:
        """The cost.

        Args:
            values: what :meth:`evaluate` returned.

        Returns:
            A scalar, at least 0.
        """

    def reduction(self, before: PyTree, after: PyTree) -> jax.Array:
        """By how much the cost falls, summed from differences to keep its digits.

        Args:
            before: what :meth:`evaluate` returned.
            after: what it returned for other parameters.

        Returns:
            cost(before) - cost(after), a scalar.
        """

    def magnitudes(self, params: Vector) -> jax.Array | None:
        """The sizes of the parameters.

        Args:
            params: (P,).

        Returns:
            Their absolute values, (P,), those with a unit in common alike; None where all have.
        """

    def forward_orders(self, params: Vector) -> int:
        """How often what is differentiated can be in forward mode.

        Args:
            params: (P,).

        Returns:
            0, 1, or 2 for twice and more: an acceleration takes two.
        """

    def may_have_kinks(self, params: Vector) -> bool:
        """Whether what is differentiated may have points at which its derivatives jump.

        Args:
            params: (P,).

        Returns:
            The answer from its operations alone.
        """

    def num_residuals(self, params: Vector) -> int:
        """The number of rows of J, from shapes alone.

        Args:
            params: (P,).

        Returns:
            m.
        """

    def form_bytes(self, params: Vector, form: Form) -> int | None:
        """The memory that the largest array of a form needs, from shapes alone.

        Args:
            params: (P,).
            form: the form.

        Returns:
            Bytes; None for a form that the objective does not have.
        """

    def linearize(self, params: Vector, form: Form) -> Linearization:
        """The Gauss-Newton model.

        Args:
            params: where, (P,).
            form: that of its curvature.

        Returns:
            A :class:`Linearization`.
        """

    def curvature_gradient(
        self, params: Vector, velocity: Vector, form: Form, curvature: PyTree = None
    ) -> Gradient:
        """The right-hand side of the geodesic acceleration.

        Args:
            params: where, (P,).
            velocity: the step v, (P,).
            form: that of the linear solver.
            curvature: that of the linearization at ``params``, for objectives that keep J there.

        Returns:
            Jᵀ r_vv as this form's solver takes it, with r_vv the second derivative of the residuals
            along ``velocity``.
        """


def dense_bytes(num_residuals: int, params: Vector, form: Form) -> int:
    """:meth:`Objective.form_bytes` of dense matrices."""
    size = vectors.size(params)
    return form.dense_rows(num_residuals, size) * size * int(vectors.dtype(params).itemsize)
