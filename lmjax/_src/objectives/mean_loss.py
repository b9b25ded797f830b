"""The mean loss of a model over rows of data: its value, and what rows and outputs it has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lmjax._src.arrays import vectors
from lmjax._src.arrays.structure import Structure
from lmjax._src.arrays.vectors import Vector
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.objectives.rows import Rows, bytes_per_row, over_chunks
from lmjax._src.runtime.derivatives import forward_orders
from lmjax._src.runtime.jaxpr_costs import may_have_kinks
from lmjax._src.typing import Array, Params, PyTree

#: The most memory that the Jacobian rows of one chunk may take, in bytes. Larger chunks are no
#: faster here: at 128 MB the product JᵀJ is limited by arithmetic, and the cost of a pass of the
#: loop is below a thousandth of it.
CHUNK_BYTES = 128 * 2**20


class Values(NamedTuple):
    """What the cost is summed from: the weighted loss of each row over N, shape (N,), and the
    penalty, a scalar.
    """

    losses: jax.Array
    penalty: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MeanLoss:
    """Σᵢ wᵢ loss(model(params, xᵢ), yᵢ) / N + penalty(params): the loss that Keras reports.

    ``rows``, ``penalty`` and the leaves of ``model`` (a pytree callable) are data of the compiled
    step.
    """

    is_mean: ClassVar[bool] = True

    rows: Rows
    model: Callable[[Params, PyTree], jax.Array]
    penalty: Penalty | None  #: None for zero
    loss: Loss = dataclasses.field(metadata={"static": True})
    structure: Structure = dataclasses.field(metadata={"static": True})
    jacobian: Literal["auto", "forward", "reverse"] = dataclasses.field(
        default="auto", metadata={"static": True}
    )
    #: whether :meth:`by_arrays` may serve: the penalty must be a sum of squares whose factor is the
    #: same throughout every array of the params
    layerwise: bool = dataclasses.field(default=False, metadata={"static": True})
    #: the most memory for the values and the rows of J of one chunk, in bytes; None for
    #: :data:`CHUNK_BYTES`
    chunk_bytes: int | None = dataclasses.field(default=None, metadata={"static": True})
    #: whether JᵀJ and J Jᵀ may be summed in double: see
    #: :data:`lmjax._src.arrays.products.MAX_IN_DOUBLE`
    in_double: bool = dataclasses.field(default=False, metadata={"static": True})
    #: whether JᵀJ is, as data; None for yes. While it is False the sums take as long as in single
    #: precision.
    switch: Array | None = None

    @property
    def num_rows(self) -> int:
        """N."""
        return int(self.rows.targets.shape[0])

    def evaluate(self, params: Vector) -> Values:
        """See :class:`Values`."""
        tree = self.structure.unflatten(params)

        def body(rows: Rows, _: jax.Array | None) -> tuple[tuple[()], jax.Array]:
            return (), self._losses(self.model(tree, rows.inputs), rows)

        return self._values(self._over_rows(body, params)[1], params)

    def values_and_gradient(self, params: jax.Array) -> tuple[Values, jax.Array]:
        """:meth:`evaluate`, and the gradient of the cost, shape (P,), from the same pass over the
        rows.
        """
        tree = self.structure.unflatten(params)

        def body(rows: Rows, fresh: jax.Array | None) -> tuple[jax.Array, jax.Array]:
            losses, pull = jax.vjp(lambda p: self._losses(self.model(p, rows.inputs), rows), tree)
            (gradient,) = pull(where_rows(fresh, jnp.ones_like(losses)))
            return self.structure.flatten(gradient), losses

        gradient, losses = self._over_rows(body, params)
        if self.penalty is not None:
            gradient = gradient + self.penalty.slope(params, gradient)
        return self._values(losses, params), gradient

    def cost(self, values: Values) -> jax.Array:
        """The mean loss plus the penalty."""
        return jnp.sum(values.losses) + values.penalty

    def reduction(self, before: Values, after: Values) -> jax.Array:
        """Summed from the rows' differences."""
        return jnp.sum(before.losses - after.losses) + (before.penalty - after.penalty)

    def _over_rows(
        self, body: Callable[[Rows, jax.Array | None], PyTree], params: Vector, numbers: int = 0
    ) -> PyTree:
        return over_chunks(body, self.rows, self.num_rows, self.chunk_rows(params, numbers))

    def chunk_rows(self, params: Vector, numbers: int = 0) -> int:
        """How many rows fit into ``chunk_bytes``: of each, the model's values and so many other
        ``numbers``.
        """
        row_bytes = self.row_bytes(params) + numbers * vectors.dtype(params).itemsize
        chunks = math.ceil(self.num_rows * row_bytes / (self.chunk_bytes or CHUNK_BYTES))
        return math.ceil(self.num_rows / max(chunks, 1))

    def jacobian_numbers(self, params: jax.Array) -> int:
        """In the rows of J that belong to one row of data."""
        return self.outputs_per_row(params) * params.size

    def row_bytes(self, params: Vector) -> int:
        """The memory of the model's values for one row."""
        return bytes_per_row(
            lambda p, inputs: self.model(self.structure.unflatten(p), inputs),
            params,
            self.rows.inputs,
        )

    def magnitudes(self, params: Params) -> None:
        """See :class:`~lmjax._src.objectives.objective.Objective`: weights have a unit in
        common.
        """
        del params

    def forward_orders(self, params: Vector) -> int:
        """See :func:`~lmjax._src.runtime.derivatives.forward_orders`."""
        return forward_orders(
            lambda p, inputs: self.model(self.structure.unflatten(p), inputs),
            params,
            self.rows.inputs,
        )

    def may_have_kinks(self, params: Vector) -> bool:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        model = jax.make_jaxpr(lambda p, inputs: self.model(self.structure.unflatten(p), inputs))(
            params, self.rows.inputs
        )
        return may_have_kinks(model.jaxpr)

    def num_residuals(self, params: Vector) -> int:
        """The rows of J: the outputs of all rows of data, and what of the penalty is squares."""
        beside = 0 if self.penalty is None else self.penalty.num_rows
        return self.num_rows * self.outputs_per_row(params) + beside

    def outputs_per_row(self, params: Vector) -> int:
        """The numbers that the model gives for one row of data."""
        outputs = jax.eval_shape(
            lambda p, inputs: self.model(self.structure.unflatten(p), inputs),
            params,
            self.rows.inputs,
        )
        return int(outputs.size) // self.num_rows

    def _values(self, losses: jax.Array, params: Vector) -> Values:
        none = jnp.zeros((), vectors.dtype(params))
        return Values(losses, none if self.penalty is None else self.penalty.value(params))

    def _row_weights(self, rows: Rows) -> jax.Array | float:
        return 1 / self.num_rows if rows.weights is None else rows.weights / self.num_rows

    def _roots(self, rows: Rows, dtype: DTypeLike) -> jax.Array:
        """√(wᵢ/N) in the shape of the weights, or a scalar."""
        return jnp.sqrt(jnp.asarray(self._row_weights(rows), dtype))

    def _losses(self, outputs: jax.Array, rows: Rows) -> jax.Array:
        if rows.weights is not None and rows.weights.ndim > 1:
            value = self.loss.weighted_value  # type: ignore[attr-defined]
            return jax.vmap(value)(outputs, rows.targets, self._row_weights(rows))
        return jax.vmap(self.loss.value)(outputs, rows.targets) * self._row_weights(rows)


def where_rows(fresh: jax.Array | None, array: jax.Array) -> jax.Array:
    if fresh is None:
        return array
    return jnp.where(fresh.reshape((-1,) + (1,) * (array.ndim - 1)), array, 0)
