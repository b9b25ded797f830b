"""The objective of a supervised fit, summed over the chunks of a stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.structure import Structure
from lmjax._src.objectives.curvature import Form, NormalMatrix
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.objectives.objective import dense_bytes
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime import interrupts, precision
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.training.streaming.stream import Stream
from lmjax._src.typing import Array, DType, NumpyArray, Params, PyTree

#: Every chunk of the stream is a call of its own, which gets new memory: with 128 MiB its pages
#: made a step of a million rows and 507 parameters take 3.1 s, with this 2.6 s; with 8 MiB the
#: products of thousands of columns would be slower.
_DERIVATIVE_BYTES = 32 * 2**20


class StreamedValues(NamedTuple):
    """What the cost is summed from: the mean loss's share of every chunk (float64, on the host),
    and the penalty.
    """

    losses: NumpyArray
    penalty: float


@dataclasses.dataclass(frozen=True)
class StreamedObjective:
    """An :class:`~lmjax._src.objectives.objective.Objective` whose sums over rows are passes
    over a stream, driven from the host.

    A chunk is an objective in memory by itself, ``template`` with the chunk's rows; whatever is a
    sum over rows is the sum over chunks. At most two chunks are in memory: one is being computed on
    while the next one is read.

    Attributes:
        template: model, loss, penalty and options; its rows are not used.
        stream: the rows.
    """

    is_mean: ClassVar[bool] = True

    template: SupervisedObjective
    stream: Stream

    @property
    def structure(self) -> Structure:
        """Of the parameters."""
        return self.template.structure

    @property
    def num_rows(self) -> int:
        """N."""
        return self.stream.num_rows

    def drawn(self, size: int) -> StreamedObjective:
        """The mean loss over so many rows at random, in memory; see
        :meth:`~lmjax._src.training.streaming.stream.Stream.drawn`.
        """
        return dataclasses.replace(self, stream=self.stream.drawn(size))

    def nearby(self) -> SupervisedObjective:
        """The mean loss over the rows that a pass took last, which are still in memory."""
        rows: PyTree = self.stream.latest
        return dataclasses.replace(self.template, rows=jax.tree.map(jnp.asarray, rows))

    def evaluate(self, params: jax.Array) -> StreamedValues:
        """One pass; see :class:`StreamedValues`."""
        return self._sum(_add_losses, (), params)[1]

    def values_and_gradient(self, params: jax.Array) -> tuple[StreamedValues, jax.Array]:
        """:meth:`evaluate`, and the gradient of the cost, shape (P,), from the same pass."""
        gradient, values = self._sum(_add_gradient, jnp.zeros_like(params), params)
        penalty = self.template.penalty
        return (
            values,
            gradient if penalty is None else gradient + penalty.slope(params, gradient),
        )

    def cost(self, values: StreamedValues) -> jax.Array:
        """The mean loss plus the penalty."""
        return jnp.asarray(values.losses.sum() + values.penalty, self._dtype)

    def reduction(self, before: StreamedValues, after: StreamedValues) -> jax.Array:
        """Summed from the chunks' differences, in float64."""
        return jnp.asarray(
            (before.losses - after.losses).sum() + (before.penalty - after.penalty), self._dtype
        )

    def magnitudes(self, params: Params) -> None:
        """See :class:`~lmjax._src.objectives.objective.Objective`: weights have a unit in
        common.
        """
        del params

    def forward_orders(self, params: jax.Array) -> int:
        """As if all were there: no rows to ask the model with are in memory before the first
        pass.
        """
        return 2

    def may_have_kinks(self, params: jax.Array) -> bool:
        """As if it had, since it is not asked."""
        return True

    def num_residuals(self, params: jax.Array) -> int:
        """The rows of J over the whole stream; not all of them are ever in memory."""
        return self.stream.num_rows * self.stream.outputs_per_row

    def outputs_per_row(self, params: jax.Array) -> int:
        """See :class:`~lmjax._src.objectives.mean_loss.MeanLoss`."""
        return self.stream.outputs_per_row

    def form_bytes(self, params: jax.Array, form: Form) -> int | None:
        """Sums over rows are all that a pass gives: JᵀJ."""
        return dense_bytes(0, params, form) if form is Form.NORMAL else None

    def linearize(self, params: jax.Array, form: Form) -> Linearization:
        """One pass, which sums the Gauss-Newton matrix, the gradient and the losses."""
        size, sums = params.size, self.dtype_of_sums(params, form)
        with precision.kept(sums):
            empty = (jnp.zeros(size, sums), jnp.zeros((size, size), sums))
        (gradient, matrix), values = self._sum(_add_linearization, empty, params)
        gradient, curvature = gradient.astype(params.dtype), NormalMatrix(matrix)
        penalty = self.template.penalty
        if penalty is not None:
            gradient = gradient + penalty.slope(params, gradient)
            curvature = penalty.curved(curvature, params)
        diagonal = curvature.diagonal.astype(params.dtype)
        return Linearization(
            values, self.cost(values), gradient, diagonal, curvature, Gradient(rest=gradient)
        )

    def dtype_of_sums(self, params: jax.Array, form: Form) -> DType:
        """See :class:`~lmjax._src.objectives.supervised.SupervisedObjective`."""
        return self.template.dtype_of_sums(params, form)

    def summed(self, in_double: bool, switch: Array | None = None) -> StreamedObjective:
        """See :class:`~lmjax._src.objectives.supervised.SupervisedObjective`."""
        return dataclasses.replace(self, template=self.template.summed(in_double, switch))

    def curvature_gradient(
        self, params: jax.Array, velocity: jax.Array, form: Form, curvature: PyTree = None
    ) -> Gradient:
        """One pass; see :class:`~lmjax._src.objectives.objective.Objective`."""
        gradient = self._sum(partial(_add_curvature, velocity), jnp.zeros_like(params), params)[0]
        if self.template.penalty is not None:
            gradient = self.template.penalty.curvature_gradient(params, velocity, gradient)
        return Gradient(rest=gradient)

    @property
    def _dtype(self) -> DType:
        return jnp.result_type(float)  # the mode is set by the precision of the fit

    def _mean(self, total: jax.Array) -> jax.Array:
        with precision.kept(total.dtype):
            return total / self.stream.num_rows

    def _sum(
        self, add: Callable[..., PyTree], total: PyTree, params: jax.Array
    ) -> tuple[PyTree, StreamedValues]:
        """``total`` after ``add`` over all chunks, over N; and the chunks' losses if ``add``
        returns them.
        """
        losses: list[float] = []
        pending: PyTree = None
        rows: PyTree
        interrupts.check()
        for rows in self.stream:
            interrupts.check()
            self.stream.latest = rows
            # Times the chunk's rows, over which the objective of the chunk takes its mean.
            rows = rows._replace(
                weights=np.asarray(rows.weights) * np.asarray(len(rows.targets), rows.weights.dtype)
            )
            chunk = dataclasses.replace(
                self.template,
                rows=jax.tree.map(jnp.asarray, rows),
                penalty=None,
                chunk_bytes=_DERIVATIVE_BYTES,
            )
            total, latest = add(total, chunk, params)
            if pending is not None:
                # Waits for the chunk before, so that no more than two are in memory.
                losses.append(_host_sum(pending))
            pending = latest
        losses.append(_host_sum(pending))
        scaled = jax.tree.map(self._mean, total)
        penalty = self.template.penalty
        beside = 0.0 if penalty is None else float(penalty.value(params))
        return scaled, StreamedValues(np.asarray(losses) / self.stream.num_rows, beside)


def _added(total: jax.Array, more: jax.Array) -> jax.Array:
    with precision.kept(total.dtype):
        return total + more.astype(total.dtype)


def _host_sum(losses: jax.Array) -> float:
    return float(np.sum(np.asarray(losses), dtype=np.float64))


@recent()
def _add_losses(
    total: tuple[()], chunk: SupervisedObjective, params: jax.Array
) -> tuple[tuple[()], jax.Array]:
    return total, chunk.evaluate(params).losses


@recent(donate_argnums=(0,))
def _add_gradient(
    total: jax.Array, chunk: SupervisedObjective, params: jax.Array
) -> tuple[jax.Array, jax.Array]:
    values, gradient = chunk.values_and_gradient(params)
    return total + gradient, values.losses


@recent(donate_argnums=(0,))
def _add_linearization(
    total: tuple[jax.Array, jax.Array], chunk: SupervisedObjective, params: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    gradient, matrix = total
    linearization = chunk.linearize(params, Form.NORMAL)
    return (
        _added(gradient, linearization.gradient),
        _added(matrix, linearization.curvature.matrix),
    ), linearization.values.losses


@recent()
def _add_curvature(
    velocity: jax.Array, total: jax.Array, chunk: SupervisedObjective, params: jax.Array
) -> tuple[jax.Array, jax.Array]:
    total = total + chunk.curvature_gradient(params, velocity, Form.NORMAL).rest
    return total, total[:1]
