"""The mean loss of a model over rows of data, with its generalized Gauss-Newton matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from lmjax._src.arrays import vectors
from lmjax._src.arrays.products import HIGHEST, dtype_of_sums, gram_and_gradient, product
from lmjax._src.arrays.vectors import Vector
from lmjax._src.layerwise.layerwise_dual import LayerwiseDual, mean_diagonal
from lmjax._src.layerwise.normal_matrix import Blocks, assembled
from lmjax._src.layerwise.normal_plan import NormalPlan
from lmjax._src.objectives.curvature import Form, NormalMatrix, Operator, of_rows
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.objectives.mean_loss import MeanLoss, where_rows
from lmjax._src.objectives.objective import dense_bytes
from lmjax._src.objectives.row_derivatives import RowDerivatives
from lmjax._src.objectives.rows import Rows
from lmjax._src.typing import Array, DType, Params, PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SupervisedObjective(MeanLoss):
    """The mean loss as an :class:`~lmjax._src.objectives.objective.Objective`, linearized in every
    form.

    :meth:`by_arrays` gives the same for params that are a list of arrays, whose dual form comes
    from the structure of the model.
    """

    def summed(self, in_double: bool, switch: Array | None = None) -> SupervisedObjective:
        """The same with JᵀJ in double, or not: see the fields."""
        return dataclasses.replace(self, in_double=in_double, switch=switch)

    def by_arrays(self) -> SupervisedObjective:
        """The same of params as a list of arrays."""
        if self.penalty is None:
            return self
        return dataclasses.replace(self, penalty=self.penalty.by_arrays(self.structure))

    def linearize(self, params: Vector, form: Form) -> Linearization:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        if form is Form.NORMAL:
            return self._linearize_normal(params)
        if form is Form.OPERATOR:
            return self._linearize_operator(params)
        return (
            self._linearize_layers(params)
            if isinstance(params, list)
            else self._linearize_rows(params, form)
        )

    def _linearize_normal(self, params: jax.Array) -> Linearization:
        """JᵀJ, summed over chunks of rows."""
        tree = self.structure.unflatten(params)
        plan, sums = self.normal_plan(params), self.dtype_of_sums(params, Form.NORMAL)

        def by_layers(
            rows: Rows, fresh: jax.Array | None
        ) -> tuple[tuple[Blocks, jax.Array], jax.Array]:
            assert plan is not None
            roots = self._roots(rows, params.dtype)
            outputs, blocks, gradient = self._rows.normal_sums(
                plan, tree, rows.inputs, rows.targets, roots, fresh, sums
            )
            return (blocks, gradient), self._losses(outputs, rows)

        def by_rows(
            rows: Rows, fresh: jax.Array | None
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            outputs, jacobian, residuals = self._rows.jacobian(
                tree, rows.inputs, rows.targets, self._roots(rows, params.dtype)
            )
            jacobian = where_rows(fresh, jacobian).reshape(-1, params.size)
            return gram_and_gradient(jacobian, residuals.ravel(), sums, self.switch), self._losses(
                outputs, rows
            )

        if plan is None:
            (matrix, gradient), losses = self._over_rows(
                by_rows, params, self.jacobian_numbers(params)
            )
        else:
            (blocks, gradient), losses = self._over_rows(by_layers, params, plan.numbers)
            matrix = assembled(plan, blocks)
        values = self._values(losses, params)
        gradient, curvature = gradient.astype(params.dtype), NormalMatrix(matrix)
        if self.penalty is not None:
            gradient = gradient + self.penalty.slope(params, gradient)
            curvature = self.penalty.curved(curvature, params)
        diagonal = curvature.diagonal.astype(params.dtype)
        return Linearization(
            values, self.cost(values), gradient, diagonal, curvature, Gradient(rest=gradient)
        )

    def dtype_of_sums(self, params: Vector, form: Form) -> DType:
        """Of JᵀJ or J Jᵀ; other forms square nothing."""
        if not self.in_double or form not in (Form.NORMAL, Form.DUAL):
            return vectors.dtype(params)
        return dtype_of_sums(
            self.num_residuals(params) if form is Form.DUAL else vectors.size(params),
            vectors.dtype(params),
        )

    def normal_plan(self, params: jax.Array) -> NormalPlan | None:
        """How JᵀJ is summed by layers; None for as the product of J."""
        tree = jax.eval_shape(self.structure.unflatten, params)
        return self._rows.normal_plan(tree, self.rows.inputs, self.num_rows)

    def _linearize_rows(self, params: jax.Array, form: Form) -> Linearization:
        """All of J."""
        tree = self.structure.unflatten(params)

        def body(rows: Rows, _: jax.Array | None) -> tuple[tuple[()], PyTree]:
            outputs, jacobian, residuals = self._rows.jacobian(
                tree, rows.inputs, rows.targets, self._roots(rows, params.dtype)
            )
            return (), (jacobian, residuals, self._losses(outputs, rows))

        jacobian, residuals, losses = self._over_rows(body, params, self.jacobian_numbers(params))[
            1
        ]
        jacobian, residuals = jacobian.reshape(-1, params.size), residuals.ravel()
        if self.penalty is not None:
            jacobian, residuals = self.penalty.with_rows(params, jacobian, residuals)
        gradient = product(residuals, jacobian)
        curvature = of_rows(
            form, jacobian, self._ridge, self.dtype_of_sums(params, form) != params.dtype
        )
        return self._in_rows(
            params, losses, residuals, gradient, jnp.sum(jacobian * jacobian, axis=0), curvature
        )

    def _linearize_layers(self, params: list[jax.Array]) -> Linearization:
        """J Jᵀ from the structure of the model, all rows at once."""
        tree, rows, roots = (
            self.structure.unflatten(params),
            self.rows,
            self._roots(self.rows, vectors.dtype(params)),
        )
        outputs, grams = self._rows.grams(
            tree, rows.inputs, rows.targets, roots, self.dtype_of_sums(params, Form.DUAL)
        )

        def model(p: Params) -> jax.Array:
            return self.model(p, rows.inputs)

        _, backward = jax.vjp(model, tree)

        def push(vector: list[jax.Array]) -> jax.Array:
            tangents = jax.jvp(model, (tree,), (self.structure.unflatten(vector),))[1]
            return self._rows.to_rows(outputs, rows.targets, roots, tangents).ravel()

        def pull(covector: jax.Array) -> list[jax.Array]:
            return jax.tree.leaves(
                backward(self._rows.from_rows(outputs, rows.targets, roots, covector))[0]
            )

        residuals = self._rows.residuals(outputs, rows.targets, roots).ravel()
        curvature = LayerwiseDual(grams, push, pull, self._ridge)
        return self._in_rows(
            params,
            self._losses(outputs, rows),
            residuals,
            pull(residuals),
            mean_diagonal(grams, params),
            curvature,
        )

    def _in_rows(
        self,
        params: Vector,
        losses: jax.Array,
        residuals: jax.Array,
        gradient: Vector,
        diagonal: jax.Array,
        curvature: PyTree,
    ) -> Linearization:
        """The linearization for linear solvers that take the gradient as the residuals (m,), and
        the penalty's beside.
        """
        values, rest = self._values(losses, params), None
        beside = None if self.penalty is None else self.penalty.beside_rows()
        if beside is not None:
            rest = beside.slope(params, gradient)
            gradient = vectors.add(gradient, rest)
        if self._ridge is not None:
            diagonal = diagonal + self._ridge
        return Linearization(
            values, self.cost(values), gradient, diagonal, curvature, Gradient(residuals, rest)
        )

    @property
    def _ridge(self) -> jax.Array | None:
        return None if self.penalty is None else self.penalty.ridge

    def _linearize_operator(self, params: jax.Array) -> Linearization:
        """The product with the Gauss-Newton matrix, the gradient and the diagonal, a chunk of rows
        of J at a time.
        """
        tree = self.structure.unflatten(params)

        def body(
            rows: Rows, fresh: jax.Array | None
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            outputs, jacobian, residuals = self._rows.jacobian(
                tree, rows.inputs, rows.targets, self._roots(rows, params.dtype)
            )
            jacobian = where_rows(fresh, jacobian)
            gradient = jnp.einsum("no,nop->p", residuals, jacobian, precision=HIGHEST)
            return (gradient, jnp.sum(jnp.square(jacobian), axis=(0, 1))), self._losses(
                outputs, rows
            )

        (gradient, diagonal), losses = self._over_rows(body, params, self.jacobian_numbers(params))
        values = self._values(losses, params)
        if self.penalty is not None:
            gradient = gradient + self.penalty.slope(params, gradient)
            diagonal = diagonal + self.penalty.diagonal(params)
        return Linearization(
            values,
            self.cost(values),
            gradient,
            diagonal,
            Operator(partial(self._product, params)),
            Gradient(rest=gradient),
        )

    def _product(self, params: jax.Array, vector: jax.Array) -> jax.Array:
        """The Gauss-Newton matrix times ``vector``."""
        product = self._curvature_along(
            params,
            lambda model, tree: jax.jvp(model, (tree,), (self.structure.unflatten(vector),))[1],
        )
        return product if self.penalty is None else product + self.penalty.product(params, vector)

    def curvature_gradient(
        self, params: Vector, velocity: Vector, form: Form, curvature: PyTree = None
    ) -> Gradient:
        """Jᵀ H z_vv, with z_vv the second derivative of the outputs along ``velocity``."""
        direction = self.structure.unflatten(velocity)

        def second(model: Callable[[Params], jax.Array], tree: PyTree) -> jax.Array:
            return jax.jvp(lambda p: jax.jvp(model, (p,), (direction,))[1], (tree,), (direction,))[
                1
            ]

        if not form.takes_rows:
            gradient = self._curvature_along(params, second)
            if self.penalty is not None:
                gradient = self.penalty.curvature_gradient(params, velocity, gradient)
            return Gradient(rest=gradient)
        tree = self.structure.unflatten(params)

        def body(rows: Rows, _: jax.Array | None) -> tuple[tuple[()], jax.Array]:
            outputs = self.model(tree, rows.inputs)
            tangents = second(lambda p: self.model(p, rows.inputs), tree)
            return (), self._rows.to_rows(
                outputs, rows.targets, self._roots(rows, vectors.dtype(params)), tangents
            )

        rows = self._over_rows(body, params)[1].ravel()
        if self.penalty is not None:
            rows = self.penalty.curvature_rows(params, velocity, rows)
        return Gradient(rows=rows)

    def _curvature_along(
        self, params: jax.Array, tangent: Callable[[Params, PyTree], jax.Array]
    ) -> jax.Array:
        """Jᵀ H ``tangent(model, params)``, for a tangent of the outputs, chunk by chunk."""
        tree = self.structure.unflatten(params)

        def body(rows: Rows, fresh: jax.Array | None) -> tuple[jax.Array, tuple[()]]:
            def model(p: Params) -> jax.Array:
                return self.model(p, rows.inputs)

            outputs, pull = jax.vjp(model, tree)
            beside = (outputs, rows.targets, self._roots(rows, params.dtype))
            cotangents = self._rows.from_rows(
                *beside, self._rows.to_rows(*beside, tangent(model, tree))
            )
            (gradient,) = pull(where_rows(fresh, cotangents))
            return self.structure.flatten(gradient), ()

        return self._over_rows(body, params)[0]

    def form_bytes(self, params: Vector, form: Form) -> int:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        num_residuals = self.num_residuals(params)
        if form is Form.DUAL and self.layerwise:
            return (
                len(self.structure.shapes) * num_residuals**2 * int(vectors.dtype(params).itemsize)
            )
        return dense_bytes(num_residuals, params, form)

    @property
    def _rows(self) -> RowDerivatives:
        return RowDerivatives(self.model, self.loss, self.structure, self.jacobian)
