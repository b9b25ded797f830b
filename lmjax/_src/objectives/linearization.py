"""What a step needs to know of the cost around the current parameters, and what computes it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

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
