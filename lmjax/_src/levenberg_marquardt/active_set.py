"""Damped steps within bounds, and on one side of the kinks of a penalty Σ l1 |params|."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.linear_solvers.base import LinearSolver
from lmjax._src.objectives.linearization import Linearization, restrict
from lmjax._src.runtime import control_flow, precision


class Orthants(NamedTuple):
    """Where a step may go with a penalty Σ l1 |params|, which is linear as long as no parameter
    changes its sign: as far as zero, from which the next step may go on to the other side.

    Source: G. Andrew, J. Gao, "Scalable training of L1-regularized log-linear models", ICML 2007
    (OWL-QN).
    """

    kinked: jax.Array  #: (P,), booleans: which parameters have a factor in l1
    feasible: FeasibleSet | None = None  #: what else limits the parameters

    def project(self, params: jax.Array) -> jax.Array:
        """Into the set that limits them; there is no side to keep to yet."""
        return params if self.feasible is None else self.feasible.project(params)

    def around(self, params: jax.Array, gradient: jax.Array) -> Orthant:
        """The side of ``params``, at zero that of the descent, with ``gradient`` the least of all
        there are: where that is zero a parameter of zero stays.
        """
        side = jnp.where(params == 0, -jnp.sign(gradient), jnp.sign(params))
        lower = jnp.where(self.kinked & (side >= 0), 0, -jnp.inf).astype(params.dtype)
        upper = jnp.where(self.kinked & (side <= 0), 0, jnp.inf).astype(params.dtype)
        return Orthant(lower, upper, self.feasible)


class Orthant(NamedTuple):
    """One side of all kinks, as a :class:`FeasibleSet`, within another one."""

    lower: jax.Array
    upper: jax.Array
    feasible: FeasibleSet | None

    def project(self, params: jax.Array) -> jax.Array:
        """See :class:`FeasibleSet`."""
        inside = jnp.clip(params, self.lower, self.upper)
        return inside if self.feasible is None else self.feasible.project(inside)

    def free(self, params: jax.Array, gradient: jax.Array) -> jax.Array:
        """All but those at zero that are to stay there, and what else is held."""
        free = self.lower < self.upper
        return free if self.feasible is None else free & self.feasible.free(params, gradient)

    def beyond(self, params: jax.Array) -> jax.Array:
        """See :class:`FeasibleSet`; a set that is more than limits of one parameter each is left to
        the projection.
        """
        beyond = (params < self.lower) | (params > self.upper)
        others = None if self.feasible is None else self.feasible.beyond(params)
        return beyond if others is None else beyond | others

    @property
    def known(self) -> jax.Array | None:
        """See :class:`FeasibleSet`."""
        return None if self.feasible is None else self.feasible.known


def limited(
    bounds: FeasibleSet | Orthants, params: jax.Array, linearization: Linearization
) -> tuple[FeasibleSet, Linearization]:
    """Where a step from ``params`` may go, and the model of the parameters that may move."""
    if isinstance(bounds, Orthants):
        bounds = bounds.around(params, linearization.gradient)
    known = bounds.known
    if known is not None:  # what has only one value has no influence, whatever its column says
        linearization = linearization._replace(diagonal=jnp.where(known, 0, linearization.diagonal))
    return bounds, restrict(linearization, bounds.free(params, linearization.gradient))


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
    # Data that are streamed have their steps on the host, where a compiled loop would be a new one
    # in every step.
    loop = control_flow.while_loop if precision.is_traced(start) else control_flow.on_host
    _, _, step, _ = loop(lambda carry: carry[3], again, start)
    return step, start[3]
