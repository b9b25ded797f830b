"""Whether the method has arrived, by the gradient, the cost and their rounding."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.options import Options
from lmjax._src.levenberg_marquardt.state import State
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.linear_solvers.cholesky import is_ill_conditioned
from lmjax._src.objectives.cost_noise import cost_noise, cost_noise_of_rows, smallest_cost
from lmjax._src.objectives.linearization import Linearization
from lmjax._src.objectives.objective import Objective


def status_here(
    solver: Options,
    objective: Objective,
    linearization: Linearization,
    state: State,
    first: jax.Array,
) -> jax.Array:
    """What the linearization at the current parameters says: broken, without influence, or
    stationary.
    """
    cosine = gradient_cosine(linearization)  # finite if the gradient is
    finite = (
        jnp.isfinite(linearization.cost)
        & jnp.isfinite(cosine)
        & jnp.all(jnp.isfinite(linearization.diagonal))
    )
    stationary = cosine <= solver.gtol
    status = jnp.where(stationary, int(Status.GRADIENT), state.status)
    free = True if linearization.free is None else jnp.any(linearization.free)
    status = jnp.where(
        (linearization.cost > 0) & jnp.all(linearization.diagonal == 0) & free,
        int(Status.FLAT),
        status,
    )
    # Where squares of the residuals vanish, products with short columns do as well; what a mean is
    # summed from is not zero at its minimum.
    seen = linearization.gradient if objective.is_mean else linearization.values
    vanishing = (
        linearization.cost <= smallest_cost(linearization.cost.dtype)
    ) & vectors.any_nonzero(seen)
    status = jnp.where(first & vanishing, int(Status.UNDERFLOW), status)
    if objective.is_mean:  # of a loss that may be anybody's
        status = jnp.where(linearization.cost < 0, int(Status.NEGATIVE), status)
    return jnp.where(
        finite,
        status,
        jnp.where(first, int(Status.NON_FINITE_START), int(Status.NON_FINITE_DERIVATIVE)),
    ).astype(jnp.int32)


def norm_of_gradient(linearization: Linearization) -> jax.Array:
    diagonal = linearization.diagonal
    return vectors.norm(linearization.gradient, 1 / jnp.where(diagonal > 0, diagonal, 1))


def gradient_cosine(linearization: Linearization) -> jax.Array:
    """The largest |cos| of the angle between the residuals and a Jacobian column; free of all
    units, as in MINPACK.

    One for a column whose square underflows though its gradient does not: nothing is known of its
    angle.
    """
    lengths, gradient = jnp.sqrt(linearization.diagonal), vectors.largest(linearization.gradient)
    norms = lengths * jnp.sqrt(2 * linearization.cost)
    unseen = ((lengths == 0) & (gradient > 0)).astype(norms.dtype)
    return jnp.max(jnp.where(norms > 0, gradient / jnp.where(norms > 0, norms, 1), unseen))


def undamped_reduction(
    solver: Options, linearization: Linearization
) -> tuple[jax.Array, jax.Array]:
    """What the Gauss-Newton model promises without damping: ½ gᵀ(JᵀJ)⁻¹g, regularised at the level
    of rounding.

    And whether the solver took that from factors of JᵀJ in which rounding leaves hardly a digit.
    """
    diagonal = linearization.diagonal
    epsilon = jnp.finfo(diagonal.dtype).eps
    positive = jnp.where(diagonal > 0, diagonal, 1)
    damping = jnp.asarray(linearization.resolution(solver.linear.form), diagonal.dtype)
    exact = linearization._replace(decrease=jnp.zeros_like(damping))
    factors = solver.linear.factor(exact, damping, positive)
    reduction = -0.5 * vectors.dot(
        linearization.gradient, solver.linear.solve(factors, linearization.source)
    )
    # An increase that is no rounding comes from derivatives that are coarser than their dtype: no
    # sign of being stationary.
    sound = reduction >= -(epsilon**0.5) * linearization.cost
    return jnp.where(sound, reduction, jnp.inf), is_ill_conditioned(factors)


def rounding_noise(objective: Objective, linearization: Linearization, params: Vector) -> jax.Array:
    """The largest reduction of the cost that cannot be seen in this precision: that of rounding the
    parameters.
    """
    size = vectors.norm(params, linearization.diagonal)
    if objective.is_mean:
        return cost_noise_of_rows(linearization.cost, size, objective.num_residuals(params))
    return cost_noise(linearization.cost, size)
