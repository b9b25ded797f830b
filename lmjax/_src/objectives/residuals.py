"""½‖r(params)‖² of a general residual function, weighted or with a robust loss."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lmjax._src.arrays.products import HIGHEST, diagonal, gram, gram_and_gradient, is_small, product
from lmjax._src.arrays.structure import Structure
from lmjax._src.objectives.curvature import Form, NormalMatrix, Operator, of_rows
from lmjax._src.objectives.explicit_residuals import explicit, warn_of_traps
from lmjax._src.objectives.jacobians import Jacobians
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.objectives.objective import dense_bytes
from lmjax._src.objectives.residual_weights import spread_weights
from lmjax._src.objectives.robust import CURVATURE_FLOOR, RobustLoss, corrected, robust_cost
from lmjax._src.runtime import control_flow
from lmjax._src.runtime.derivatives import forward_orders, linear_map
from lmjax._src.runtime.jaxpr_costs import may_have_kinks
from lmjax._src.typing import Array, PyTree, TreeFn

#: Products with Jᵀ from which a matrix-free linearization estimates the lengths of J's columns: a
#: preconditioner good to a factor of two, for the price of as many iterations.
PROBES = 16


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ResidualObjective:
    """The sum of squares of ``residual_fn(params, *args)``, an array or a pytree of arrays.

    ``args``, ``root_weights``, ``loss`` and the leaves of ``residual_fn`` (a pytree callable) are
    data of the compiled step: a new data set of the same shape compiles nothing.
    """

    is_mean: ClassVar[bool] = False

    args: tuple[PyTree, ...]
    residual_fn: TreeFn
    structure: Structure = dataclasses.field(metadata={"static": True})
    jacobians: Jacobians = dataclasses.field(default=Jacobians(), metadata={"static": True})
    #: factors of the residuals, a tree that theirs extends, broadcast against each; None for ones
    root_weights: PyTree = None
    loss: RobustLoss | None = None  #: of the weighted residuals; None for ½r²

    def explicit(self, params: jax.Array) -> ResidualObjective:
        """This objective with all that is being traced as leaves, also what ``residual_fn``
        captured; call while tracing.

        Raises:
            ValueError, TypeError: the residuals are no arrays of real numbers, or empty.
        """
        function = explicit(self.residual_fn, self.structure.unflatten(params), self.args)
        return (
            self
            if function is self.residual_fn
            else dataclasses.replace(self, residual_fn=function)
        )

    def warn_of_traps(self, params: jax.Array) -> None:
        """Warns where the residuals are hardly what was meant, by their shapes."""
        warn_of_traps(self.residual_fn, self.structure.unflatten(params), self.args)

    def evaluate(self, params: jax.Array) -> jax.Array:
        """The weighted residuals as one vector of shape (m,), in the dtype of ``params``."""
        residuals = self.residual_fn(self.structure.unflatten(params), *self.args)
        leaves = [jnp.ravel(leaf).astype(params.dtype) for leaf in jax.tree.leaves(residuals)]
        vector = leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves)
        if self.root_weights is None:
            return vector
        factors = spread_weights(self.root_weights, residuals)
        # Selected: a residual of weight zero may be NaN.
        return jnp.where(factors == 0, 0, vector * factors)

    def cost(self, values: jax.Array) -> jax.Array:
        """½‖r‖², or the robust cost."""
        if self.loss is not None:
            return jnp.sum(robust_cost(self.loss, values))
        return 0.5 * jnp.vdot(values, values, precision=HIGHEST)

    def reduction(self, before: jax.Array, after: jax.Array) -> jax.Array:
        """½ Σ (r - r')(r + r'), or the sum of the differences in robust cost."""
        if self.loss is not None:
            return jnp.sum(robust_cost(self.loss, before) - robust_cost(self.loss, after))
        # Selected where it is zero anyway: what XLA:CPU selects it does not hand over to its
        # library of sums, which under ``vmap`` takes a pass over memory for every operation (1 024
        # × 64 in float64: 147 instead of 20 µs).
        return 0.5 * jnp.sum(jnp.where(before == after, 0, (before - after) * (before + after)))

    def model_rows(
        self, params: jax.Array, floor: float = CURVATURE_FLOOR
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(values, r, J) of shapes (m,), (m,) and (m, P): the cost's Gauss-Newton model has the
        gradient Jᵀr and the matrix JᵀJ.

        r are the values themselves, and J their Jacobian, unless there is a robust loss; ``floor``
        is that of :func:`~lmjax._src.objectives.robust.corrected`. In the precision of ``params``,
        whatever that of the steps' Jacobians.
        """
        residuals, jacobian = self.residuals_and_jacobian(params)
        if self.loss is None:
            return residuals, residuals, jacobian
        correction = corrected(self.loss, residuals, floor)
        return residuals, correction.residuals, correction.root[:, None] * jacobian

    def residuals_and_jacobian(self, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """r of shape (m,) and J of shape (m, P)."""
        return self.jacobians.compute(self.evaluate, params)

    def linearize(self, params: jax.Array, form: Form) -> Linearization:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        if form is Form.OPERATOR:
            return self._linearize_operator(params)
        if self._is_mixed(params):
            return self._linearize_mixed(params, form)
        values, residuals, jacobian = self.model_rows(params)
        if form.takes_rows:
            gradient = product(residuals, jacobian)
            return self._with_rows(
                values, gradient, of_rows(form, jacobian), jacobian, Gradient(rows=residuals)
            )
        kept = jacobian if is_small(*jacobian.shape) else None
        return self._with_matrix(values, *gram_and_gradient(jacobian, residuals), kept)

    def _with_rows(
        self,
        values: jax.Array,
        gradient: jax.Array,
        curvature: Any,
        jacobian: jax.Array,
        source: Gradient,
    ) -> Linearization:
        """For the linear solvers that take J."""
        return Linearization(
            values,
            self.cost(values),
            gradient,
            jnp.sum(jacobian * jacobian, axis=0),
            curvature,
            source,
        )

    def _with_matrix(
        self,
        values: jax.Array,
        matrix: jax.Array,
        gradient: jax.Array,
        jacobian: jax.Array | None = None,
    ) -> Linearization:
        """For those that take JᵀJ."""
        curvature = NormalMatrix(matrix, jacobian)
        return Linearization(
            values,
            self.cost(values),
            gradient,
            diagonal(matrix),
            curvature,
            Gradient(rest=gradient),
        )

    def _is_mixed(self, params: jax.Array) -> bool:
        return self.jacobians.dtype is not None and params.dtype != self.jacobians.dtype

    def _linearize_mixed(self, params: jax.Array, form: Form) -> Linearization:
        """J in single precision; residuals, gradient (one product with Jᵀ in full precision) and
        all that follows in that of ``params``.

        So the step's matrix is off by single rounding, which costs no digits of the solution: there
        the gradient is zero.
        """
        values, pull = jax.vjp(self.evaluate, params)
        correction = None if self.loss is None else corrected(self.loss, values)
        gradient = pull(values if correction is None else correction.root * correction.residuals)[0]
        single = dataclasses.replace(
            self,
            **{
                name: _lowered(getattr(self, name), self.jacobians.dtype)
                for name in ("args", "residual_fn", "root_weights", "loss")
            },
        )
        jacobian = self.jacobians.compute(single.evaluate, params.astype(self.jacobians.dtype))[
            1
        ].astype(params.dtype)
        if correction is not None:
            jacobian = correction.root[:, None] * jacobian
        if form.takes_rows:
            return self._with_rows(
                values, gradient, of_rows(form, jacobian), jacobian, Gradient(rest=gradient)
            )
        return self._with_matrix(values, gram(jacobian), gradient)

    def _linearize_operator(self, params: jax.Array) -> Linearization:
        params = control_flow.varying(params)
        values, push_values, pull_values = linear_map(self.evaluate, params)
        residuals, root = (values, None) if self.loss is None else corrected(self.loss, values)

        def push(vector: jax.Array) -> jax.Array:
            return push_values(vector) if root is None else root * push_values(vector)

        def pull(covector: jax.Array) -> jax.Array:
            return pull_values(control_flow.varying(covector if root is None else root * covector))

        gradient = pull(residuals)
        curvature = Operator(lambda vector: pull(push(vector)))
        return Linearization(
            values,
            self.cost(values),
            gradient,
            _squared_columns(pull, residuals),
            curvature,
            Gradient(rest=gradient),
        )

    def curvature_gradient(
        self, params: jax.Array, velocity: jax.Array, form: Form, curvature: PyTree = None
    ) -> Gradient:
        """See :class:`~lmjax._src.objectives.objective.Objective`; two nested ``jvp`` and one
        ``vjp``, no second derivatives stored.
        """

        def second_derivative() -> jax.Array:
            return jax.jvp(
                lambda q: jax.jvp(self.evaluate, (q,), (velocity,))[1], (params,), (velocity,)
            )[1]

        if self.loss is None and form.takes_rows:
            return Gradient(rows=second_derivative())
        residuals, pull = jax.vjp(self.evaluate, params)
        root = (
            jnp.ones_like(residuals) if self.loss is None else corrected(self.loss, residuals).root
        )
        rows = root * second_derivative()
        if form.takes_rows:
            return Gradient(rows=rows)
        # In a third of the time of a pass backwards.
        if isinstance(curvature, NormalMatrix) and curvature.jacobian is not None:
            return Gradient(rest=product(rows, curvature.jacobian))
        return Gradient(rest=pull(root * rows)[0])

    def magnitudes(self, params: jax.Array) -> jax.Array:
        """See :class:`~lmjax._src.objectives.objective.Objective`: of a model with matrices
        each array has a unit, of a curve each number.
        """
        if all(len(shape) < 2 for shape in self.structure.shapes):
            return jnp.abs(params)
        sizes = [math.prod(shape) for shape in self.structure.shapes]
        leaves = jnp.split(params, list(itertools.accumulate(sizes))[:-1])
        return jnp.concatenate(
            [
                jnp.full_like(leaf, jnp.sqrt(jnp.mean(jnp.square(leaf))))
                for leaf in leaves
                if leaf.size
            ]
        )

    def form_bytes(self, params: jax.Array, form: Form) -> int:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        rows = self.num_residuals(params)
        # JᵀJ comes from all of J here, whichever is larger.
        jacobian = 0 if form is Form.OPERATOR else rows * params.size * params.dtype.itemsize
        return max(dense_bytes(rows, params, form), jacobian)

    def forward_orders(self, params: jax.Array) -> int:
        """See :func:`~lmjax._src.runtime.derivatives.forward_orders`."""
        return forward_orders(self.evaluate, params)

    def may_have_kinks(self, params: jax.Array) -> bool:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        return may_have_kinks(jax.make_jaxpr(self.evaluate)(params).jaxpr)

    def num_residuals(self, params: jax.Array) -> int:
        """m."""
        return jax.eval_shape(self.evaluate, params).size

    def num_informative(self, params: jax.Array) -> int | jax.Array:
        """m without the residuals of weight zero."""
        if self.root_weights is None:
            return self.num_residuals(params)
        residuals = jax.eval_shape(
            lambda p: self.residual_fn(self.structure.unflatten(p), *self.args), params
        )
        return jnp.sum(spread_weights(self.root_weights, residuals) != 0)


def _lowered(tree: PyTree, dtype: DTypeLike | None) -> PyTree:
    def convert(leaf: Array) -> Array:
        return (
            jnp.asarray(leaf, dtype)
            if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
            else leaf
        )

    return jax.tree.map(convert, tree)


def _squared_columns(pull: Callable[[jax.Array], jax.Array], residuals: jax.Array) -> jax.Array:
    """diag(JᵀJ) from :data:`PROBES` products Jᵀz with random signs z, whose squares it is the mean
    of; exact for few residuals.

    Source: C. Bekas, E. Kokiopoulou, Y. Saad, "An estimator for the diagonal of a matrix", Appl.
    Numer. Math. 57, 2007.
    """
    if residuals.size <= PROBES:
        return jnp.sum(
            jnp.square(jax.vmap(pull)(jnp.eye(residuals.size, dtype=residuals.dtype))), axis=0
        )
    signs = jax.random.rademacher(jax.random.key(0), (PROBES, residuals.size), residuals.dtype)
    total = control_flow.fori_loop(
        0,
        PROBES,
        lambda k, total: total + jnp.square(pull(signs[k])),
        jnp.zeros_like(pull(residuals)),
    )
    return total / PROBES
