"""The statistics of a fit, from the QR factorisation of its Jacobian at the solution.

Everything is pure and takes the objective, the bounds and the flat parameters of a solution (P of
them). Parameters that rest on a bound count as known. Source: G. A. F. Seber, C. J. Wild,
"Nonlinear Regression", 1989, ch. 2 and 5.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays import lapack
from lmjax._src.arrays.interval import Interval
from lmjax._src.arrays.orthogonal import inverse_root
from lmjax._src.arrays.products import product
from lmjax._src.arrays.structure import Structure
from lmjax._src.least_squares.student_t import normal_quantile, two_sided_quantile
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.typing import Array, PyTree, TreeFn


class _Factors(NamedTuple):
    """The covariance s² (JᵀJ)⁻¹ = s² B Bᵀ over the parameters that are not known; multiplied last,
    B or s² alone may be out of range.
    """

    root: jax.Array  #: B, shape (P, P), times s; rows of known parameters are zero
    #: R of J with columns of length one, (P, P); the identity in the rows of known parameters
    triangle: jax.Array
    deviation: jax.Array  #: s, a scalar: the standard deviation of a residual
    degrees: jax.Array  #: m - P, without the known parameters
    determined: jax.Array  #: whether the data determine all parameters; if not, B means nothing
    lengths: jax.Array  #: of J's columns, (P,); zero for parameters without influence


class Details(NamedTuple):
    """What a report of a fit of P parameters says of them."""

    errors: Array  #: standard errors, (P,)
    correlation: Array  #: (P, P), as :func:`correlation` gives it
    triangle: Array  #: R of J with columns of length one, (P, P)
    lengths: Array  #: of J's columns, (P,)


def _factors(
    objective: ResidualObjective, bounds: Bounds | None, flat: jax.Array, absolute_sigma: bool
) -> _Factors:
    flat = jnp.asarray(flat)
    values, _, jacobian = objective.model_rows(flat, floor=0.0)
    free = _free(bounds, flat)
    root, triangle = inverse_root(jnp.where(free, jacobian, 0))
    degrees = objective.num_informative(flat) - jnp.sum(free)
    # A parameter without influence is a zero column, which the factorisation passes over; a known
    # one was made into one.
    influential = jnp.any(jacobian != 0, axis=0) | ~free
    pivots = jnp.abs(jnp.diagonal(triangle))
    determined = (
        ((degrees > 0) | absolute_sigma)
        & jnp.all(influential)
        & (jnp.min(pivots) > flat.size * jnp.finfo(flat.dtype).eps)
    )
    deviation = (
        1.0 if absolute_sigma else _size(objective, values) / jnp.sqrt(jnp.maximum(degrees, 1))
    )
    deviation = jnp.asarray(deviation, flat.dtype)
    both = free[:, None] & free[None, :]
    root = jnp.where(both, root * deviation, 0)
    return _Factors(root, triangle, deviation, degrees, determined, _errors(jacobian.T))


def _size(objective: ResidualObjective, values: jax.Array) -> jax.Array:
    """The root of twice the cost."""
    if objective.loss is not None:
        return jnp.sqrt(2 * objective.cost(values))
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(values)))
    largest = jnp.where(largest > 0, largest, 1)
    return largest * jnp.sqrt(2 * objective.cost(values / largest))


def _errors(root: jax.Array) -> jax.Array:
    """The lengths of the rows of ``root``, whose squares may be out of range."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(root), axis=1, keepdims=True))
    largest = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return largest[:, 0] * jnp.sqrt(jnp.sum((root / largest) ** 2, axis=1))


def _free(bounds: Bounds | None, flat: jax.Array) -> jax.Array:
    return (
        jnp.ones_like(flat, bool)
        if bounds is None
        else (flat > bounds.lower) & (flat < bounds.upper)
    )


@recent(static_argnums=(3,), static_argnames=("absolute_sigma",), effort=Effort.QUICK)
def covariance(
    objective: ResidualObjective, bounds: Bounds | None, flat: jax.Array, absolute_sigma: bool
) -> jax.Array:
    """s² (JᵀJ)⁻¹, shape (P, P)."""
    factors = _factors(objective, bounds, flat, absolute_sigma)
    matrix = product(factors.root, factors.root.T)
    return jnp.where(factors.determined, matrix, jnp.inf)


@recent(static_argnums=(3,), static_argnames=("absolute_sigma",), effort=Effort.QUICK)
def standard_errors(
    objective: ResidualObjective, bounds: Bounds | None, flat: jax.Array, absolute_sigma: bool
) -> PyTree:
    """The square roots of the covariance's diagonal, as params."""
    factors = _factors(objective, bounds, flat, absolute_sigma)
    return objective.structure.unflatten(
        jnp.where(factors.determined, _errors(factors.root), jnp.inf)
    )


@recent(effort=Effort.QUICK)
def correlation(objective: ResidualObjective, bounds: Bounds | None, flat: jax.Array) -> jax.Array:
    """The correlation of the parameters' errors, shape (P, P)."""
    factors = _factors(objective, bounds, flat, True)
    return jnp.where(factors.determined, _correlation(factors.root), jnp.nan)


def _correlation(root: jax.Array) -> jax.Array:
    errors = _errors(root)[:, None]
    rows = root / jnp.where(errors > 0, errors, 1)
    # To the last bit, also for the parameters that are known.
    return jnp.fill_diagonal(product(rows, rows.T), 1, inplace=False)


@recent(static_argnums=(3,), static_argnames=("absolute_sigma",), effort=Effort.QUICK)
def details(
    objective: ResidualObjective, bounds: Bounds | None, flat: jax.Array, absolute_sigma: bool
) -> Details:
    """What a report says of the parameters, from one factorisation."""
    factors = _factors(objective, bounds, flat, absolute_sigma)
    return Details(
        jnp.where(factors.determined, _errors(factors.root), jnp.inf),
        jnp.where(factors.determined, _correlation(factors.root), jnp.nan),
        factors.triangle,
        factors.lengths,
    )


@recent(static_argnums=(3,), static_argnames=("absolute_sigma",), effort=Effort.QUICK)
def confidence_intervals(
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: jax.Array,
    absolute_sigma: bool,
    level: jax.Array,
) -> Interval:
    """params ± t · standard error, cut off at the bounds; each end as params."""
    factors = _factors(objective, bounds, flat, absolute_sigma)
    errors = _errors(factors.root)
    width = jnp.where(
        factors.determined, errors * _quantile(level, factors.degrees, absolute_sigma), jnp.inf
    )
    lower, upper = flat - width, flat + width
    if bounds is not None:
        known = ~_free(bounds, flat)
        lower, upper = (jnp.where(known, flat, bounds.project(end)) for end in (lower, upper))
    return Interval(objective.structure.unflatten(lower), objective.structure.unflatten(upper))


@recent(static_argnums=(3,), static_argnames=("absolute_sigma",), effort=Effort.QUICK)
def predict_interval(
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: jax.Array,
    absolute_sigma: bool,
    function: TreeFn,
    args: tuple[PyTree, ...],
    level: jax.Array,
    sigma: PyTree,
) -> Interval:
    """function(params, *args) ± t √(gᵀ C g + s² sigma²), with g the gradient of each output; each
    end as the outputs.
    """

    def outputs(vector: jax.Array) -> PyTree:
        return function(objective.structure.unflatten(vector), *args)

    flat = jnp.asarray(flat)
    factors = _factors(objective, bounds, flat, absolute_sigma)
    shapes = jax.eval_shape(outputs, flat)
    structure = Structure.of(shapes)
    centre, gradients = objective.jacobians.compute(
        lambda vector: structure.flatten(outputs(vector)).astype(flat.dtype), flat
    )
    spread = jnp.sum(product(gradients, factors.root) ** 2, axis=1)
    spread = jnp.where(factors.determined, spread, jnp.inf)
    width = jnp.sqrt(
        spread + (factors.deviation * structure.flatten(_spread(sigma, shapes))) ** 2
    ) * _quantile(level, factors.degrees, absolute_sigma)
    return Interval(structure.unflatten(centre - width), structure.unflatten(centre + width))


@recent(effort=Effort.QUICK)
def residuals(objective: ResidualObjective, _: Bounds | None, flat: jax.Array) -> PyTree:
    """The residuals as the residual function returns them."""
    return objective.residual_fn(objective.structure.unflatten(jnp.asarray(flat)), *objective.args)


@recent(effort=Effort.QUICK)
def condition(objective: ResidualObjective, bounds: Bounds | None, flat: jax.Array) -> jax.Array:
    """The 2-norm condition number of J over the parameters that are not known, with columns scaled
    to length one.
    """
    factors = _factors(objective, bounds, flat, True)
    # A known parameter adds the singular value 1, which lies between the smallest and the largest
    # of the others.
    values = lapack.singular_values(factors.triangle)
    return jnp.where(factors.determined, values[0] / values[-1], jnp.inf)


@recent(effort=Effort.QUICK)
def degrees_of_freedom(
    objective: ResidualObjective, bounds: Bounds | None, flat: jax.Array
) -> jax.Array:
    """Residuals that carry information, less the parameters that are not known."""
    return objective.num_informative(flat) - jnp.sum(_free(bounds, flat))


def _quantile(level: jax.Array, degrees: jax.Array, absolute_sigma: bool) -> jax.Array:
    return normal_quantile(level) if absolute_sigma else two_sided_quantile(level, degrees)


def _spread(sigma: PyTree, shapes: Any) -> PyTree:
    """``sigma`` as a tree of arrays of the predictions' shapes."""
    try:
        return jax.tree.map(
            lambda s, shape: jnp.broadcast_to(s, shape.shape),
            jax.tree.broadcast(sigma, shapes),
            shapes,
        )
    except ValueError as error:
        raise ValueError(
            f"sigma: expected a number or standard deviations of the predictions' shapes; {error}"
        ) from error
