"""Damped steps within bounds."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.linear_solvers.base import LinearSolver
from lmjax._src.objectives.linearization import Linearization, restrict
from lmjax._src.runtime import control_flow


def within_bounds(
    solver: LinearSolver,
    bounds: FeasibleSet,
    params: jax.Array,
    linearization: Linearization,
    damping: jax.Array,
    scaling: jax.Array,
    step: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The damped step within the bounds, from the one without them; and whether it hits any.

    Parameters that the step would take beyond a bound go to that bound, and the others are solved
    for again with those held there: a step that is merely projected loses the descent of the
    others, whose optimum depends on those that hit. The held set only grows, so that this ends; a
    parameter held too early is released by the next linearization. Source: the active-set methods
    of Å. Björck, "Numerical Methods for Least Squares Problems", SIAM 1996, section 5.2.

    Where parameters have no limits of their own only the set's projection is known, and the step is
    left as it is.
    """
    if bounds.beyond(params + step) is None:
        return step, jnp.asarray(False)
    free = jnp.ones_like(params, bool) if linearization.free is None else linearization.free

    def hit(
        held: jax.Array, moved: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        target = params + step
        outside = bounds.beyond(target)
        assert outside is not None
        beyond = free & ~held & outside
        return (
            held | beyond,
            jnp.where(beyond, bounds.project(target) - params, moved),
            step,
            jnp.any(beyond),
        )

    def again(
        carry: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        held, moved, _, _ = carry
        reduced = restrict(
            linearization._replace(source=linearization.source_after(moved)), free & ~held
        )
        factors = solver.factor(reduced, damping, scaling)
        return hit(held, moved, jnp.where(held, moved, solver.solve(factors, reduced.source)))

    start = hit(jnp.zeros_like(free), jnp.zeros_like(params), step)
    _, _, step, _ = control_flow.while_loop(lambda carry: carry[3], again, start)
    return step, start[3]
