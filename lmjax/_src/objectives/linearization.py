"""What a step needs to know of the cost around the current parameters, and what computes it."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.objectives.curvature import Form
from lmjax._src.typing import PyTree


class Gradient(NamedTuple):
    """The vector Jᵀ ``rows`` + ``rest``, where None stands for zero.

    Linear solvers that have J take it in its own space, where digits survive that Jᵀ ``rows`` has
    lost; the others get all of the vector as ``rest``.

    Attributes:
        rows: (m,) for m residuals, or None.
        rest: (P,) for P parameters, or None.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> gradient = lmjax.extend.Gradient(rest=jnp.array([1.0, 2.0]))
        >>> gradient.rows is None, gradient.rest.shape
        (True, (2,))
    """

    rows: PyTree = None
    rest: Vector = None


class Linearization(NamedTuple):
    """The Gauss-Newton model of the cost at the current P parameters.

    The cost is ½‖r‖² for residuals r, or a convex loss whose generalized Gauss-Newton matrix takes
    the place of JᵀJ (N. N. Schraudolph, "Fast curvature matrix-vector products", Neural Computation
    14, 2002). Linear solvers and damping rules get one. Arrays have the parameters' dtype; JᵀJ may
    be in double where they are single.

    Attributes:
        values: what the cost is summed from, kept so that reductions need no subtraction of large
            sums.
        cost: a scalar.
        gradient: Jᵀr, (P,).
        diagonal: diag(JᵀJ) of all parameters, (P,); estimated where the form is an operator, the
            mean of each array where the parameters are a list of arrays.
        curvature: JᵀJ, a :class:`Curvature` of the form that was asked for.
        source: the gradient in the form that the linear solver takes.
        free: which parameters may move, booleans, (P,); None for all.
        decrease: of an operator: the gradient's length over that before the last step, in units of
            the columns of J; else 1.

    Example:
        A damping rule that lets no step promise more than the cost.

        >>> import dataclasses
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> @dataclasses.dataclass(frozen=True)
        ... class Modest(lmjax.Nielsen):
        ...     def solve(self, linear, linearization, state, scaling):
        ...         factors, step, state = super().solve(linear, linearization, state, scaling)
        ...         share = linearization.promised(step) / linearization.cost
        ...         return factors, step / jnp.maximum(share, 1), state
        >>> solver = lmjax.LevenbergMarquardt(damping=Modest())
        >>> residuals = lambda p: jnp.exp(p) - jnp.array([2.0, 3.0])
        >>> lmjax.least_squares(residuals, np.zeros(2), solver=solver).params.round(4).tolist()
        [0.6931, 1.0986]
    """

    values: PyTree
    cost: jax.Array
    gradient: Vector
    diagonal: jax.Array
    curvature: PyTree
    source: Gradient
    free: jax.Array | None = None
    decrease: jax.Array | float = 1.0

    def slope(self, displacement: Vector) -> jax.Array:
        """The derivative of the cost along a displacement.

        Args:
            displacement: of the parameters, (P,).

        Returns:
            The gradient times it, a scalar in units of the cost.
        """
        if not isinstance(displacement, list):
            return vectors.dot(self.gradient, displacement)
        # The acceleration needs J times the step as well, which spares a pass over two vectors.
        rows, rest = self.source
        along = jnp.vdot(rows, self.curvature.push(displacement))
        return along if rest is None else along + vectors.dot(rest, displacement)

    def promised(self, displacement: Vector) -> jax.Array:
        """The reduction of the cost that the model predicts.

        Args:
            displacement: of the parameters, (P,).

        Returns:
            A scalar in units of the cost, positive where the cost falls.
        """
        return -(
            self.slope(displacement)
            + 0.5 * vectors.dot(displacement, self.curvature.product(displacement))
        )

    def resolution(self, form: Form) -> float:
        """What of JᵀJ rounding hides.

        Args:
            form: that of the linear solver.

        Returns:
            The share of the largest eigenvalue of JᵀJ, or J Jᵀ, with unit diagonal, below which a
            solver of this form knows nothing.
        """
        rounding = vectors.size(self.gradient) * float(jnp.finfo(self.diagonal.dtype).eps)
        wide = getattr(self.curvature, "dtype", self.diagonal.dtype) != self.diagonal.dtype
        return rounding**2 if wide or form is Form.JACOBIAN else rounding

    def source_after(self, displacement: Vector) -> Gradient:
        """The model's gradient after a displacement.

        Args:
            displacement: of the parameters, (P,).

        Returns:
            The gradient in the form that the linear solver takes.
        """
        rows, rest = self.source
        if rows is None:
            return Gradient(rest=rest + self.curvature.product(displacement))
        if self.curvature.ridge is not None:
            slope = vectors.multiply(self.curvature.ridge, displacement)
            rest = slope if rest is None else vectors.add(rest, slope)
        return Gradient(rows + self.curvature.push(displacement), rest)


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


def cost_noise(cost: jax.Array, size: jax.Array) -> jax.Array:
    """The largest reduction of a ``cost`` that cannot be seen, with ``size`` = ‖J diag(p)‖ at the
    parameters p.

    Rounding them changes the residuals by about ε ‖J diag(p)‖, and so the cost by that times ‖r‖.
    """
    # The root of their product would overflow in float32 where costs are 1e20.
    seen = jnp.finfo(size.dtype).eps * jnp.sqrt(2 * cost) * size
    return seen + float(jnp.finfo(size.dtype).tiny)


def smallest_cost(dtype: DTypeLike) -> float:
    """Where the digits of a sum of squares begin to fall below the range of numbers."""
    limits = jnp.finfo(dtype)
    return float(limits.tiny) / float(limits.eps)


def cost_noise_of_rows(cost: jax.Array, size: jax.Array, num_residuals: int) -> jax.Array:
    """:func:`cost_noise` of a mean over so many residuals, whose rounding is as many accidents, not
    the worst case for all of them.

    They change the cost by ε ‖J diag(p)‖ times ‖r‖ over the root of their number; with what the
    parameters' own rounding, by at most ε/2, raises it where its gradient is zero. On sinc(10x) in
    single precision the worst case is 6 % of a loss of 2e-8, this is 6e-4, and the losses of
    neighbouring points differ by 2e-4 for no other reason.
    """
    epsilon = float(jnp.finfo(size.dtype).eps)
    return epsilon * size * (jnp.sqrt(2 * cost / num_residuals) + epsilon / 8 * size)


def vanishes(
    params: jax.Array, start: jax.Array, cost: jax.Array, start_cost: jax.Array, shrinks: jax.Array
) -> jax.Array:
    """Whether the parameters have arrived at a zero of the residuals where J is singular, and which
    is zero itself.

    Steps approach it by a constant factor and without end, since the digits of numbers near zero
    are as many as elsewhere; and the model promises nearly all of the cost in each. It is reached
    where such a step ``shrinks`` all parameters, and they are √ε of those at the start, and
    residuals ε: as they then are where they are quadratic, and beyond which JᵀJ sees nothing of
    their curvature.
    """
    epsilon = float(jnp.finfo(cost.dtype).eps)
    small = jnp.all((jnp.abs(params) <= epsilon**0.5 * jnp.abs(start)) | (start == 0))
    return shrinks & small & (cost <= epsilon**2 * start_cost)


def dense_bytes(num_residuals: int, params: Vector, form: Form) -> int:
    """:meth:`Objective.form_bytes` of dense matrices."""
    size = vectors.size(params)
    return form.dense_rows(num_residuals, size) * size * int(vectors.dtype(params).itemsize)


def restrict(linearization: Linearization, free: jax.Array) -> Linearization:
    """The model with the parameters where ``free`` (P,) is False held fixed: their step comes out
    as zero.
    """
    return linearization._replace(
        free=free,
        gradient=jnp.where(free, linearization.gradient, 0),
        curvature=linearization.curvature.restrict(free),
        source=restrict_gradient(linearization.source, free),
    )


def restrict_gradient(gradient: Gradient, free: jax.Array | None) -> Gradient:
    """The gradient without the components of fixed parameters; its rows meet a J whose columns are
    already zero there.
    """
    if free is None or gradient.rest is None:
        return gradient
    return gradient._replace(rest=jnp.where(free, gradient.rest, 0))
