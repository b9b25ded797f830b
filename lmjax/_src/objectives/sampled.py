"""The loss of all rows with the curvature of a sample of them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple, Protocol

import jax
import numpy as np

from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.objectives.mean_loss import Values
from lmjax._src.objectives.objective import Objective
from lmjax._src.typing import Array, Params, PyTree, Scalar


class Differentiable(Objective, Protocol):
    """An objective that gives values and gradient in one pass over its rows."""

    @property
    def num_rows(self) -> int:
        """N."""

    def values_and_gradient(self, params: jax.Array) -> tuple[PyTree, jax.Array]:
        """What ``evaluate`` gives, and the gradient of the cost, shape (P,)."""


class Known(NamedTuple):
    """What is known of the loss at some parameters."""

    values: PyTree  #: what ``whole.evaluate`` gives
    gradient: jax.Array  #: shape (P,)
    cost: jax.Array  #: of these values, asked for three times a step


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SampledObjective:
    """The loss and gradient of ``whole``, JᵀJ and second derivatives of ``sample``. Of
    :class:`Form` NORMAL only.

    What a trial evaluates is what the linearization there needs, so that an accepted step's rows
    are gone through once.
    """

    is_mean: ClassVar[bool] = True

    whole: Differentiable
    sample: Objective  #: the mean loss over the rows of the sample, with the same penalty

    def summed(self, switch: Array | None) -> SampledObjective:
        """The same with JᵀJ of the sample in double while ``switch`` is True."""
        return dataclasses.replace(self, sample=self.sample.summed(True, switch))  # type: ignore[attr-defined]

    def evaluate(self, params: jax.Array) -> Known:
        """See :class:`Known`."""
        values, gradient = self.whole.values_and_gradient(params)
        return Known(values, gradient, self.whole.cost(values))

    def nothing_known(self, params: Params) -> Known:
        """What stands in for :class:`Known` of rows in memory before the first evaluation: zeros,
        of NumPy since JAX would compile a program for each.
        """
        losses: Array = np.zeros(self.whole.num_rows, params.dtype)
        zero: Scalar = np.zeros((), params.dtype)
        return Known(Values(losses, zero), np.zeros(params.shape, params.dtype), zero)  # type: ignore[arg-type]

    def cost(self, known: Known) -> jax.Array:
        """The mean loss plus the penalty."""
        return known.cost

    def reduction(self, before: Known, after: Known) -> jax.Array:
        """Summed from the rows' differences."""
        return self.whole.reduction(before.values, after.values)

    def linearize(self, params: jax.Array, form: Form) -> Linearization:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        return self.linearize_known(params, form, self.evaluate(params))

    def linearize_known(self, params: jax.Array, form: Form, known: Known) -> Linearization:
        """:meth:`linearize` where :meth:`evaluate` has been called at ``params``."""
        of_sample, gradient = self.sample.linearize(params, form), known.gradient
        return of_sample._replace(
            values=known, cost=known.cost, gradient=gradient, source=Gradient(rest=gradient)
        )

    def curvature_gradient(
        self, params: jax.Array, velocity: jax.Array, form: Form, curvature: PyTree = None
    ) -> Gradient:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        return self.sample.curvature_gradient(params, velocity, form)

    def magnitudes(self, params: Params) -> None:
        """See :class:`~lmjax._src.objectives.objective.Objective`: weights have a unit in
        common.
        """
        del params

    def forward_orders(self, params: jax.Array) -> int:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        return self.sample.forward_orders(params)

    def may_have_kinks(self, params: jax.Array) -> bool:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        return self.sample.may_have_kinks(params)

    def num_residuals(self, params: jax.Array) -> int:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        return self.whole.num_residuals(params)

    def form_bytes(self, params: jax.Array, form: Form) -> int | None:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        return self.whole.form_bytes(params, form) if form is Form.NORMAL else None
