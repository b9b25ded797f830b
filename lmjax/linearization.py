"""What a step needs to know of the cost around the current parameters, and what computes it."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from lmjax.curvature import Form


class Gradient(NamedTuple):
    """The vector Jᵀ ``rows`` + ``rest`` of shape (P,), where None stands for zero.

    Linear solvers that have J take it in its own space, where digits survive that Jᵀ ``rows`` has lost; the others get
    all of the vector as ``rest``.
    """

    rows: Any = None  #: shape (m,)
    rest: Any = None  #: shape (P,)


class Linearization(NamedTuple):
    """The Gauss-Newton model of the cost at the current parameters (P of them).

    The cost is ½‖r‖² for residuals r, or a convex loss whose generalized Gauss-Newton matrix takes the place of
    JᵀJ (N. N. Schraudolph, "Fast curvature matrix-vector products", Neural Computation 14, 2002).
    """

    values: Any  #: what the cost is summed from, kept so that reductions need no subtraction of large sums
    cost: jax.Array  #: scalar
    gradient: jax.Array  #: Jᵀr, shape (P,)
    diagonal: jax.Array  #: diag(JᵀJ), shape (P,), of all parameters; estimated where the form is an operator
    curvature: Any  #: JᵀJ, a :class:`~lmjax.curvature.Curvature` of the form that was asked for
    source: Gradient  #: the gradient in the form that the linear solver takes
    free: jax.Array | None = None  #: which parameters may move, shape (P,); None for all
    decrease: jax.Array | float = 1.0  #: the gradient's length over that before the last step, in units of the columns of J

    def source_after(self, displacement: jax.Array) -> Gradient:
        """The model's gradient after a ``displacement`` (P,) of the parameters, in the form that the linear solver takes."""
        rows, rest = self.source
        if rows is None:
            return Gradient(rest=rest + self.curvature.product(displacement))
        if self.curvature.ridge is not None:
            slope = self.curvature.ridge * displacement
            rest = slope if rest is None else rest + slope
        return Gradient(rows + self.curvature.push(displacement), rest)


class Objective(Protocol):
    """A cost over a flat parameter vector; implementations are pytrees whose array leaves are the data."""

    def evaluate(self, params: jax.Array) -> Any:
        """The values (a pytree of arrays) from which the cost at ``params`` (P,) is summed."""

    def cost(self, values: Any) -> jax.Array:
        """The scalar cost of :meth:`evaluate`'s values."""

    def reduction(self, before: Any, after: Any) -> jax.Array:
        """cost(before) - cost(after), summed from differences to keep its digits."""

    def num_residuals(self, params: jax.Array) -> int:
        """The number m of rows of J, from shapes alone."""

    def form_bytes(self, params: jax.Array, form: Form) -> int | None:
        """The memory that the largest array of this form needs, from shapes alone; None for a form that it does not have."""

    def linearize(self, params: jax.Array, form: Form) -> Linearization:
        """The Gauss-Newton model at ``params`` (P,), with its curvature in that form."""

    def curvature_gradient(self, params: jax.Array, velocity: jax.Array, form: Form) -> Gradient:
        """Jᵀ r_vv, with r_vv the second derivative of the residuals along ``velocity`` (P,), as this form's solver takes it."""


def in_rows(form: Form) -> bool:
    """Whether the linear solvers of this form take gradients as rows."""
    return form in (Form.JACOBIAN, Form.DUAL)


def dense_bytes(num_residuals: int, params: jax.Array, form: Form) -> int:
    """:meth:`Objective.form_bytes` of dense matrices."""
    columns = {Form.NORMAL: params.size, Form.OPERATOR: 1}.get(form, num_residuals)
    return columns * params.size * params.dtype.itemsize


def restrict(linearization: Linearization, free: jax.Array) -> Linearization:
    """The model with the parameters where ``free`` (P,) is False held fixed: their step comes out as zero."""
    return linearization._replace(
        free=free,
        gradient=jnp.where(free, linearization.gradient, 0),
        curvature=linearization.curvature.restrict(free),
        source=restrict_gradient(linearization.source, free),
    )


def restrict_gradient(gradient: Gradient, free: jax.Array | None) -> Gradient:
    """The gradient without the components of fixed parameters; its rows meet a J whose columns are already zero there."""
    if free is None or gradient.rest is None:
        return gradient
    return gradient._replace(rest=jnp.where(free, gradient.rest, 0))
