"""The path of a step: t·v + ½t²·a, with the geodesic acceleration a of Transtrum and Sethna
(arXiv:1201.5885).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.active_set import within_bounds
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.levenberg_marquardt.damping import DampingState
from lmjax._src.levenberg_marquardt.options import Options
from lmjax._src.objectives.linearization import Linearization, restrict_gradient
from lmjax._src.objectives.objective import Objective
from lmjax._src.runtime import control_flow


class Path(NamedTuple):
    """t·velocity + ½t²·acceleration for t from 0 to ``share``: the step with one damping, and its
    parts.
    """

    damping: DampingState
    velocity: Vector
    acceleration: Vector  #: None for a straight path
    velocity_length: jax.Array  #: in the norm of D
    acceleration_length: jax.Array
    share: jax.Array  #: less than one where the path bends too much
    hits: jax.Array  #: whether bounds changed the velocity
    slope: jax.Array  #: the gradient times the velocity


def path_with(
    solver: Options,
    objective: Objective,
    bounds: FeasibleSet | None,
    params: Vector,
    linearization: Linearization,
    state: DampingState,
    scaling: jax.Array,
) -> Path:
    """The step that the damping rule gives in this ``state``, within the bounds."""
    factors, velocity, state = solver.damping.solve(solver.linear, linearization, state, scaling)
    hits = jnp.asarray(False)
    if bounds is not None:
        velocity, hits = within_bounds(
            solver.linear, bounds, params, linearization, state.damping, scaling, velocity
        )
    length, slope = vectors.norm(velocity, scaling), linearization.slope(velocity)
    if not solver.geodesic_acceleration:
        return Path(
            state,
            velocity,
            None,
            length,
            jnp.zeros_like(length),
            jnp.ones_like(length),
            hits,
            slope,
        )
    curvature = objective.curvature_gradient(
        params, velocity, solver.linear.form, linearization.curvature
    )
    acceleration = solver.linear.solve(factors, restrict_gradient(curvature, linearization.free))
    acceleration_length = vectors.norm(acceleration, scaling)
    share = _share(solver.acceleration_limit, length, acceleration_length)
    return Path(state, velocity, acceleration, length, acceleration_length, share, hits, slope)


def along(
    solver: Options,
    bounds: FeasibleSet | None,
    params: Vector,
    linearization: Linearization,
    scaling: jax.Array,
    path: Path,
    part: jax.Array | float,
) -> tuple[Vector, jax.Array, jax.Array]:
    """(params, length, predicted reduction) at the end of a ``part`` of the path."""
    share = part * path.share
    straight = change = jax.tree.map(lambda v: share * v, path.velocity)
    if path.acceleration is not None:
        bent = jax.tree.map(lambda v, a: v + 0.5 * share * share * a, straight, path.acceleration)
        # the factors know nothing of the bounds that it hits
        change = vectors.where(path.hits, straight, bent)
    length = share * (path.velocity_length + 0.5 * share * path.acceleration_length)
    if bounds is None and solver.damping.gives_damped_steps:
        # -gᵀs - ½ sᵀJᵀJs for s = share · v, where JᵀJ v = -g - λD v.
        predicted = share * (
            0.5 * share * (path.damping.damping * jnp.square(path.velocity_length) + path.slope)
            - path.slope
        )
        return vectors.add(params, change), length, predicted
    new_params = vectors.add(params, change) if bounds is None else bounds.project(params + change)
    moved = straight if bounds is None else new_params - params
    length = length if bounds is None else vectors.norm(moved, scaling)
    return new_params, length, linearization.promised(moved)


def missed_curvature(objective: Objective, params: Vector, path: Path) -> jax.Array:
    """By how much the cost's second derivative along a path is larger than the model's, per square
    of the path; without bounds.
    """

    def cost(t: jax.Array) -> jax.Array:
        if path.acceleration is None:
            moved = jax.tree.map(lambda p, v: p + t * v, params, path.velocity)
        else:
            moved = jax.tree.map(
                lambda p, v, a: p + t * v + 0.5 * t * t * a,
                params,
                path.velocity,
                path.acceleration,
            )
        return objective.cost(objective.evaluate(moved))

    def slope(t: jax.Array) -> jax.Array:
        return jax.jvp(cost, (t,), (one,))[1]

    start, one = control_flow.varying((jnp.zeros_like(path.slope), jnp.ones_like(path.slope)))
    second = jax.jvp(slope, (start,), (one,))[1]
    # vᵀJᵀJv, since JᵀJ v = -g - λD v
    model = -(path.slope + path.damping.damping * jnp.square(path.velocity_length))
    return path.share * path.share * (second - model)


def _share(limit: float, velocity: jax.Array, acceleration: jax.Array) -> jax.Array:
    """The largest t, at most one, for which the path t·v + ½t²·a has 2‖ta‖ <= ``limit`` ‖v‖, from
    the lengths of v and a.

    Transtrum and Sethna reject a step beyond that, which costs one attempt for each λ until the
    path is straight enough.
    """
    reach = 0.5 * limit * velocity
    return jnp.where(acceleration <= reach, 1, reach / acceleration)
