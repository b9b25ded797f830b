"""What the cost and its Jacobian at a solution say of the fits beside it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays.products import product
from lmjax._src.least_squares import statistics
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.typing import Array


class Around(NamedTuple):
    """The cost, the noise and the linear model at a solution of P parameters."""

    cost: Array  #: a scalar
    deviation: Array  #: s, a scalar
    degrees: Array  #: m - P, a scalar
    quantile: Array  #: by how many standard errors a linear model's end is away, a scalar
    errors: Array  #: standard errors, (P,); infinite where the data do not determine the parameters
    alone: Array  #: standard errors with all other parameters known, (P,)
    #: how all parameters move along with each, to first order, (P, P), one parameter a row
    directions: Array


@recent(static_argnames=("absolute_sigma",), effort=Effort.QUICK)
def around(
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: jax.Array,
    level: jax.Array,
    absolute_sigma: bool,
) -> Around:
    """See :class:`Around`."""
    flat = jnp.asarray(flat)
    factors = statistics._factors(objective, bounds, flat, True)
    values, _, jacobian = objective.model_rows(flat, floor=0.0)
    degrees = jnp.asarray(factors.degrees)
    root_degrees = jnp.sqrt(jnp.maximum(degrees, 1)).astype(flat.dtype)
    deviation = 1.0 if absolute_sigma else statistics._size(objective, values) / root_degrees
    quantile = statistics._quantile(level, degrees, absolute_sigma)
    errors = statistics._errors(factors.root)
    useful = factors.determined & (errors > 0)
    rows = factors.root / jnp.where(errors > 0, errors, 1)[:, None]
    along = product(rows, rows.T) * (errors / jnp.where(errors > 0, errors, 1)[:, None])
    # Also of what is hardly determined: a direction is a start to try, beside another.
    finite = jnp.all(jnp.isfinite(along), axis=1) & (errors > 0)
    own = jnp.eye(flat.size, dtype=flat.dtype)
    lengths = jnp.sqrt(jnp.sum(jnp.square(jacobian), axis=0))
    return Around(
        objective.cost(values),
        jnp.asarray(deviation, flat.dtype),
        degrees,
        quantile,
        deviation * jnp.where(useful, errors, jnp.inf),
        deviation / lengths,
        jnp.where(finite[:, None], jnp.where(own == 1, 1, along), own),
    )
