"""The mean loss of a model over rows of data, with its generalized Gauss-Newton matrix."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from lmjax.curvature import Form, JacobianRows, NormalMatrix, Operator
from lmjax.flattening import Structure
from lmjax.linearization import Gradient, Linearization, dense_bytes, in_rows
from lmjax.losses import Loss
from lmjax.objectives.products import gram
from lmjax.objectives.rows import over_chunks

#: The most memory that the Jacobian rows of one chunk may take, in bytes. Larger chunks are no faster here: at 128 MB
#: the product JᵀJ is limited by arithmetic, and the cost of a pass of the loop is below a thousandth of it.
CHUNK_BYTES = 128 * 2**20


class Rows(NamedTuple):
    """The data: inputs (a pytree of arrays), targets, and weights (N,) or None."""

    inputs: Any
    targets: jax.Array
    weights: jax.Array | None


class Values(NamedTuple):
    """What the cost is summed from: the weighted loss of each row over N, shape (N,), and the penalty, a scalar."""

    losses: jax.Array
    penalty: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SupervisedObjective:
    """Σᵢ wᵢ loss(model(params, xᵢ), yᵢ) / N + Σⱼ l2ⱼ paramsⱼ²: the loss that Keras reports.

    ``rows``, ``l2`` and the leaves of ``model`` (a pytree callable) are data of the compiled step.
    """

    rows: Rows
    model: Callable[[Any, Any], jax.Array]
    l2: jax.Array | None  #: shape (P,)
    loss: Loss = dataclasses.field(metadata={"static": True})
    structure: Structure = dataclasses.field(metadata={"static": True})
    jacobian: Literal["auto", "forward", "reverse"] = dataclasses.field(default="auto", metadata={"static": True})

    @property
    def num_rows(self) -> int:
        """N."""
        return int(self.rows.targets.shape[0])

    def evaluate(self, params: jax.Array) -> Values:
        """See :class:`Values`."""
        tree = self.structure.unflatten(params)

        def body(rows: Rows, _: jax.Array | None) -> tuple[tuple[()], jax.Array]:
            return (), self._losses(self.model(tree, rows.inputs), rows)

        return Values(self._over_rows(body, params)[1], self._penalty(params))

    def cost(self, values: Values) -> jax.Array:
        """The mean loss plus the penalty."""
        return jnp.sum(values.losses) + values.penalty

    def reduction(self, before: Values, after: Values) -> jax.Array:
        """Summed from the rows' differences."""
        return jnp.sum(before.losses - after.losses) + (before.penalty - after.penalty)

    def linearize(self, params: jax.Array, form: Form) -> Linearization:
        """See :class:`~lmjax.linearization.Objective`."""
        if form is Form.NORMAL:
            return self._linearize_normal(params)
        return self._linearize_rows(params) if in_rows(form) else self._linearize_operator(params)

    def _linearize_normal(self, params: jax.Array) -> Linearization:
        """JᵀJ, summed over chunks of rows."""
        tree = self.structure.unflatten(params)

        def body(rows: Rows, fresh: jax.Array | None) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            outputs, jacobian, residuals = self._jacobian_rows(tree, rows)
            if residuals is None:
                gradient, matrix = self._gradient(tree, rows, fresh), gram(_where_rows(fresh, jacobian).reshape(-1, params.size))
            else:
                # The residuals as one more column: their product with J is the gradient, in the same pass over J.
                beside = jnp.concatenate([jacobian, residuals[..., None]], axis=-1)
                product = gram(_where_rows(fresh, beside).reshape(-1, params.size + 1))
                gradient, matrix = product[-1, :-1], product[:-1, :-1]
            return (gradient, matrix), self._losses(outputs, rows)

        (gradient, matrix), losses = self._over_rows(body, params)
        values = Values(losses, self._penalty(params))
        if self.l2 is not None:
            gradient, matrix = gradient + 2 * self.l2 * params, matrix + 2 * jnp.diag(self.l2)
        return Linearization(values, self.cost(values), gradient, jnp.diagonal(matrix), NormalMatrix(matrix), Gradient(rest=gradient))

    def _linearize_rows(self, params: jax.Array) -> Linearization:
        """All of J, with the pseudo-residuals where the loss has them; the gradient of a loss that has none is no Jᵀr."""
        tree = self.structure.unflatten(params)

        def body(rows: Rows, fresh: jax.Array | None) -> tuple[Any, Any]:
            outputs, jacobian, residuals = self._jacobian_rows(tree, rows)
            gradient = self._gradient(tree, rows, fresh) if residuals is None else None
            return gradient, (jacobian, residuals, self._losses(outputs, rows))

        gradient, (jacobian, residuals, losses) = self._over_rows(body, params)
        jacobian, residuals = jacobian.reshape(-1, params.size), None if residuals is None else residuals.ravel()
        values, rest = Values(losses, self._penalty(params)), gradient
        if residuals is not None:
            gradient = jnp.matmul(residuals, jacobian, precision=jax.lax.Precision.HIGHEST)
        curvature, diagonal = JacobianRows(jacobian), jnp.sum(jacobian * jacobian, axis=0)
        if self.l2 is not None:
            slope, ridge = 2 * self.l2 * params, 2 * self.l2
            gradient, rest = gradient + slope, slope if rest is None else rest + slope
            curvature, diagonal = JacobianRows(jacobian, ridge), diagonal + ridge
        return Linearization(values, self.cost(values), gradient, diagonal, curvature, Gradient(residuals, rest))

    def _linearize_operator(self, params: jax.Array) -> Linearization:
        """The product with the Gauss-Newton matrix, the gradient and the diagonal, a chunk of rows of J at a time."""
        tree = self.structure.unflatten(params)

        def body(rows: Rows, fresh: jax.Array | None) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            outputs, jacobian, _ = self._jacobian_rows(tree, rows)
            return (self._gradient(tree, rows, fresh), jnp.sum(jnp.square(_where_rows(fresh, jacobian)), axis=(0, 1))), self._losses(
                outputs, rows
            )

        (gradient, diagonal), losses = self._over_rows(body, params)
        values = Values(losses, self._penalty(params))
        if self.l2 is not None:
            gradient, diagonal = gradient + 2 * self.l2 * params, diagonal + 2 * self.l2
        return Linearization(
            values, self.cost(values), gradient, diagonal, Operator(partial(self._product, params)), Gradient(rest=gradient)
        )

    def _product(self, params: jax.Array, vector: jax.Array) -> jax.Array:
        """The Gauss-Newton matrix times ``vector``."""
        product = self._curvature_along(params, lambda model, tree: jax.jvp(model, (tree,), (self.structure.unflatten(vector),))[1])
        return product if self.l2 is None else product + 2 * self.l2 * vector

    def curvature_gradient(self, params: jax.Array, velocity: jax.Array, form: Form) -> Gradient:
        """Jᵀ H z_vv, with z_vv the second derivative of the outputs along ``velocity``."""
        direction = self.structure.unflatten(velocity)

        def second(model: Any, tree: Any) -> jax.Array:
            return jax.jvp(lambda p: jax.jvp(model, (p,), (direction,))[1], (tree,), (direction,))[1]

        if not in_rows(form):
            return Gradient(rest=self._curvature_along(params, second))
        tree = self.structure.unflatten(params)

        def body(rows: Rows, _: jax.Array | None) -> tuple[tuple[()], jax.Array]:
            outputs = self.model(tree, rows.inputs)
            return (), self._root_rows(outputs, rows, second(lambda p: self.model(p, rows.inputs), tree))

        return Gradient(rows=self._over_rows(body, params)[1].ravel())

    def _curvature_along(self, params: jax.Array, tangent: Callable[[Any, Any], jax.Array]) -> jax.Array:
        """Jᵀ H ``tangent(model, params)``, for a tangent of the outputs, chunk by chunk."""
        tree = self.structure.unflatten(params)

        def body(rows: Rows, fresh: jax.Array | None) -> tuple[jax.Array, tuple[()]]:
            def model(p: Any) -> jax.Array:
                return self.model(p, rows.inputs)

            outputs, pull = jax.vjp(model, tree)
            (gradient,) = pull(_where_rows(fresh, self._curvature_product(outputs, rows, tangent(model, tree))))
            return self.structure.flatten(gradient), ()

        return self._over_rows(body, params)[0]

    def _over_rows(self, body: Callable[[Rows, jax.Array | None], Any], params: jax.Array) -> Any:
        return over_chunks(body, self.rows, self.num_rows, self.chunk_rows(params))

    def chunk_rows(self, params: jax.Array) -> int:
        """How many rows a chunk has, from :data:`CHUNK_BYTES` and the size of one row's Jacobian."""
        row_bytes = self._outputs_per_row(self.structure.unflatten(params)) * params.size * params.dtype.itemsize
        chunks = math.ceil(self.num_rows * row_bytes / CHUNK_BYTES)
        return math.ceil(self.num_rows / max(chunks, 1))

    def num_residuals(self, params: jax.Array) -> int:
        """The rows of J: the outputs of all rows of data."""
        return self.num_rows * self._outputs_per_row(self.structure.unflatten(params))

    def form_bytes(self, params: jax.Array, form: Form) -> int:
        """See :class:`~lmjax.linearization.Objective`."""
        return dense_bytes(self.num_residuals(params), params, form)

    def _outputs_per_row(self, tree: Any) -> int:
        return int(jax.eval_shape(self.model, tree, self.rows.inputs).size) // self.num_rows

    def _penalty(self, params: jax.Array) -> jax.Array:
        return jnp.zeros((), params.dtype) if self.l2 is None else jnp.vdot(self.l2, params * params)

    def _row_weights(self, rows: Rows) -> jax.Array | float:
        return 1 / self.num_rows if rows.weights is None else rows.weights / self.num_rows

    def _losses(self, outputs: jax.Array, rows: Rows) -> jax.Array:
        return jax.vmap(self.loss.value)(outputs, rows.targets) * self._row_weights(rows)

    def _gradient(self, tree: Any, rows: Rows, fresh: jax.Array | None) -> jax.Array:
        outputs, pull = jax.vjp(lambda p: self.model(p, rows.inputs), tree)
        losses, pull_loss = jax.vjp(lambda z: self._losses(z, rows), outputs)
        (output_gradient,) = pull_loss(jnp.ones_like(losses))
        return self.structure.flatten(pull(_where_rows(fresh, output_gradient))[0])

    def _curvature_product(self, outputs: jax.Array, rows: Rows, vectors: jax.Array) -> jax.Array:
        """wᵢ Hᵢ vectorsᵢ / N = S (Sᵀ v) row by row."""

        def product(output: jax.Array, target: jax.Array, vector: jax.Array) -> jax.Array:
            root = jax.linear_transpose(lambda u: self.loss.root_product(output, target, u), output)
            return self.loss.root_product(output, target, root(vector)[0])

        weighted = jax.vmap(product)(outputs, rows.targets, vectors)
        return weighted * _column(self._row_weights(rows), weighted)

    def _root_rows(self, outputs: jax.Array, rows: Rows, tangents: jax.Array) -> jax.Array:
        """√(wᵢ/N) Sᵢᵀ tangentsᵢ, shape (rows, outputs per row)."""

        def one_row(output: jax.Array, target: jax.Array, tangent: jax.Array) -> jax.Array:
            root = jax.linear_transpose(lambda u: self.loss.root_product(output, target, u), output)
            return root(tangent)[0].ravel()

        products = jax.vmap(one_row)(outputs, rows.targets, tangents)
        return products * _column(jnp.sqrt(jnp.asarray(self._row_weights(rows), products.dtype)), products)

    def _jacobian_rows(self, tree: Any, rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        """For every row i its outputs zᵢ, √(wᵢ/N) Sᵢᵀ Jᵢ of shape (rows, outputs per row, P), and its pseudo-residuals."""
        scales = jnp.sqrt(jnp.asarray(self._row_weights(rows), jax.tree.leaves(tree)[0].dtype))
        outputs_per_row = self._outputs_per_row(tree)
        forward = self.jacobian == "forward" or (self.jacobian == "auto" and self.structure.size < outputs_per_row)
        differentiate = self._row_forward if forward else self._row_reverse

        def one_row(inputs: Any, target: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
            output, jacobian = differentiate(tree, inputs, target, scale)
            residuals = self.loss.pseudo_residuals(output, target)
            return output, jacobian, None if residuals is None else scale * residuals.ravel()

        return jax.vmap(one_row, in_axes=(0, 0, 0 if scales.ndim else None))(rows.inputs, rows.targets, scales)

    def _row_reverse(self, tree: Any, inputs: Any, target: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
        output, pull = jax.vjp(lambda p: self._model_of_one(p, inputs), tree)
        basis = jnp.eye(output.size, dtype=output.dtype).reshape(output.size, *output.shape)
        cotangents = jax.vmap(lambda unit: scale * self.loss.root_product(output, target, unit))(basis)
        return output, self.structure.flatten_batch(jax.vmap(pull)(cotangents)[0], 1)

    def _row_forward(self, tree: Any, inputs: Any, target: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
        def outputs(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
            output = self._model_of_one(self.structure.unflatten(vector), inputs)
            return output, output

        jacobian, output = jax.jacfwd(outputs, has_aux=True)(self.structure.flatten(tree))
        root = jax.linear_transpose(lambda u: scale * self.loss.root_product(output, target, u), output)
        return output, jax.vmap(lambda column: root(column)[0].ravel(), in_axes=-1, out_axes=-1)(jacobian)

    def _model_of_one(self, tree: Any, inputs: Any) -> jax.Array:
        return self.model(tree, jax.tree.map(lambda leaf: leaf[None], inputs))[0]


def _column(factor: jax.Array | float, like: jax.Array) -> jax.Array:
    """``factor`` (rows,) or a scalar, shaped to multiply an array with rows as its first axis."""
    factor = jnp.asarray(factor, like.dtype)
    return factor.reshape(factor.shape + (1,) * (like.ndim - 1)) if factor.ndim else factor


def _where_rows(fresh: jax.Array | None, array: jax.Array) -> jax.Array:
    if fresh is None:
        return array
    return jnp.where(fresh.reshape((-1,) + (1,) * (array.ndim - 1)), array, 0)
