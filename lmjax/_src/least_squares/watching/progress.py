"""What is told of a run after a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import jax
import jax.numpy as jnp

from lmjax._src.arrays.products import product
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.typing import NumpyArray, Params

#: Entries of J up to which the gradient comes from J itself, which every function has; beyond, from
#: products with Jᵀ.
_MAX_ENTRIES = 2**22


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a callback of :func:`lmjax.least_squares` receives, under SciPy's names.

    Attributes:
        params: where the run is, a pytree as the start, of NumPy arrays.
        x: the same as one vector, (P,).
        cost: ½‖r‖² there.
        nit: accepted steps so far.
        nfev: evaluations of the residuals so far.
        reduction: by how much the last step has lowered the cost.
        step_norm: ‖step‖ of the last one.
        seconds: since the call.
    """

    params: Params
    x: NumpyArray
    cost: float
    nit: int
    nfev: int
    reduction: float
    step_norm: float
    seconds: float
    _optimality: Callable[[], float] = dataclasses.field(repr=False)

    @cached_property
    def optimality(self) -> float:
        """The largest absolute entry of the gradient Jᵀr, without those that bounds hold; computed
        when it is asked for.
        """
        return self._optimality()


@recent(effort=Effort.QUICK)
def optimality(objective: ResidualObjective, bounds: Bounds | None, flat: jax.Array) -> jax.Array:
    """See :attr:`Progress.optimality`."""
    flat = jnp.asarray(flat)
    if objective.num_residuals(flat) * flat.size <= _MAX_ENTRIES:
        _, residuals, jacobian = objective.model_rows(flat)
        gradient = product(residuals, jacobian)
    else:
        gradient = objective.linearize(flat, Form.OPERATOR).gradient
    if bounds is not None:
        gradient = jnp.where(bounds.free(flat, gradient), gradient, 0)
    return jnp.max(jnp.abs(gradient))
