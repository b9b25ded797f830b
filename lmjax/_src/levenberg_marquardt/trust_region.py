"""Damping by a trust region: the step is as long as its radius allows."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.damping import DampingRule, DampingState, initial_damping
from lmjax._src.linear_solvers.base import LinearSolver
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.runtime import control_flow
from lmjax._src.typing import PyTree, Scalar


@dataclasses.dataclass(frozen=True)
class TrustRegion(DampingRule):
    """Damping by a trust region: λ is what makes the step as long as the radius Δ in the norm of D.
    Where the Gauss-Newton step is shorter, λ is zero.

    The radius is halved after a step of gain ratio below ``poor``, doubled after one above ``good``
    and after a whole Gauss-Newton step. λ is found by Newton's method on 1/‖step‖ = 1/Δ, mostly in
    one or two factorisations; :class:`~lmjax.ConjugateGradients` need none of that and end at the
    radius.

    Attributes:
        initial: the first radius is the length of the step whose λ is this fraction of the largest
            diag(JᵀJ)/D.
        poor: the gain ratio below which the radius is halved.
        good: the gain ratio above which the radius is doubled.
        shrink: the factor of the radius at a rejection, between 0 and 1.
        slack: how far the step's length may be from Δ, as a fraction of Δ.
        max_iterations: the limit on factorisations in the search for one λ.

    Raises:
        ValueError: an option is out of its range.

    Source: J. J. Moré, "The Levenberg-Marquardt algorithm: implementation and theory", 1978,
    sections 4 and 5, whose constants these are; he takes the first radius from the size of the
    parameters, which a start at zero does not have.

    Example:
        The way of MINPACK, with Moré's scaling and straight steps.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> solver = lmjax.LevenbergMarquardt(
        ...     damping=lmjax.TrustRegion(),
        ...     scaling=lmjax.RunningMaximum(memory=1.0, power=1.0),
        ...     geodesic_acceleration=False,
        ... )
        >>> def residuals(p):
        ...     return jnp.array([10 * (p[1] - p[0] ** 2), 1 - p[0]])
        >>> lmjax.least_squares(residuals, np.array([-1.2, 1.0]), solver=solver).params.round(6)
        array([1., 1.])
    """

    initial: float = 1e-3
    poor: float = 0.25
    good: float = 0.75
    shrink: float = 0.25
    slack: float = 0.1
    max_iterations: int = 10

    def __post_init__(self) -> None:
        """Refuses options that no run could use."""
        if not (
            self.initial > 0
            and 0 < self.slack < 1
            and 0 < self.shrink < 1
            and 0 <= self.poor <= self.good
        ):
            raise ValueError(
                "damping: expected initial > 0, slack and shrink between 0 and 1, and "
                f"poor <= good, got {self!r}"
            )

    def init(self, gauss_newton_diagonal: jax.Array, scaling: jax.Array) -> DampingState:
        """See :class:`~lmjax.extend.DampingRule`; a radius of zero is one
        that the first step sets.
        """
        damping = initial_damping(self.initial, gauss_newton_diagonal, scaling)
        return DampingState(damping, jnp.zeros_like(damping))

    def accept(self, state: DampingState, gain_ratio: jax.Array) -> DampingState:
        """See :class:`~lmjax.extend.DampingRule`."""
        longer = (gain_ratio >= self.good) | (state.damping == 0)
        factor = jnp.where(gain_ratio < self.poor, 0.5, jnp.where(longer, 2.0, 1.0)).astype(
            state.carried.dtype
        )
        return DampingState(state.damping, state.carried * factor)

    def shorten(self, state: DampingState) -> DampingState:
        """See :class:`~lmjax.extend.DampingRule`: as after a
        rejection.
        """
        return self.reject(state)

    def reject(self, state: DampingState) -> DampingState:
        """See :class:`~lmjax.extend.DampingRule`."""
        return DampingState(state.damping, state.carried * self.shrink)

    def solve(
        self,
        linear: LinearSolver,
        linearization: Linearization,
        state: DampingState,
        scaling: jax.Array,
    ) -> tuple[PyTree, Vector, DampingState]:
        """See :class:`~lmjax.extend.DampingRule`: the step that the
        radius allows, and its λ; zero where the Gauss-Newton step is no longer than that.
        """

        def at(damping: jax.Array) -> tuple[PyTree, Vector]:
            factors = linear.factor(linearization, damping, scaling)
            return factors, linear.solve(factors, linearization.source)

        gradient = vectors.norm(linearization.gradient, 1 / scaling)
        # of all steps with this λ
        longest = gradient / jnp.where(state.damping > 0, state.damping, 1)
        first = state.carried == 0
        start = control_flow.cond(
            first,
            lambda: jnp.fmin(vectors.norm(at(state.damping)[1], scaling), longest),
            lambda: state.carried,
        )
        radius, least = jnp.where(first, start, state.carried), _least(linearization, scaling)
        truncated = linear.truncated(linearization, least, scaling, radius)
        if truncated is not None:
            factors, step = truncated
            inside = vectors.norm(step, scaling) < (1 - self.slack) * radius
            return factors, step, DampingState(jnp.where(inside, 0, state.damping), radius)
        damping = _damping_for(
            self, linear, linearization, state.damping, scaling, radius, gradient
        )
        factors, step = at(jnp.maximum(damping, least))
        length = vectors.norm(step, scaling)
        reached = jnp.where(jnp.isfinite(length), jnp.minimum(length, radius), radius)
        return factors, step, DampingState(damping, reached)

    def restart(self, state: DampingState) -> DampingState:
        """See :class:`~lmjax.extend.DampingRule`: rejections have made
        the radius small; the next step sets it anew.
        """
        none: Scalar = np.zeros_like(state.carried)
        return DampingState(state.damping * float(np.finfo(none.dtype).eps), none)

    @property
    def gives_damped_steps(self) -> bool:
        """See :class:`~lmjax.extend.DampingRule`: no, a radius ends
        them.
        """
        return False


class _Search(NamedTuple):
    damping: jax.Array
    low: jax.Array  #: a damping whose step is too long
    high: jax.Array  #: one whose step is too short
    length: jax.Array  #: of the step with the damping before
    iterations: jax.Array
    go_on: jax.Array


def _damping_for(
    rule: TrustRegion,
    linear: LinearSolver,
    linearization: Linearization,
    guess: jax.Array,
    scaling: jax.Array,
    radius: jax.Array,
    gradient: jax.Array,
) -> jax.Array:
    """The λ whose step has the length of the radius; zero if that with the least λ is not
    longer.
    """
    least = _least(linearization, scaling)

    def advance(now: _Search) -> _Search:
        factors = linear.factor(linearization, now.damping, scaling)
        step = linear.solve(factors, linearization.source)
        length = vectors.norm(step, scaling)
        scaled = vectors.multiply(scaling, step)
        # -d length / d λ
        slope = -vectors.dot(scaled, linear.solve(factors, Gradient(rest=scaled))) / length
        short = length <= radius
        low, high = jnp.where(short, now.low, now.damping), jnp.where(short, now.damping, now.high)
        newton = jnp.maximum(now.damping + length / slope * (length / radius - 1), least)
        inside = (newton > low) & (newton < high)
        following = jnp.where(inside, newton, jnp.maximum(1e-3 * high, jnp.sqrt(low * high)))
        done = (jnp.abs(length - radius) <= rule.slack * radius) | (short & (now.damping <= least))
        damping = jnp.where(done, now.damping, following)
        return _Search(damping, low, high, length, now.iterations + 1, ~done)

    zero = jnp.zeros_like(guess)
    high = jnp.maximum(gradient / jnp.where(radius > 0, radius, 1), 2 * least)
    start = _Search(
        jnp.clip(guess, least, high), zero, high, zero, jnp.zeros((), jnp.int32), radius > 0
    )
    end = control_flow.while_loop(
        lambda now: now.go_on & (now.iterations < rule.max_iterations), advance, start
    )
    return jnp.where((end.damping <= least) & (end.length <= radius), 0, end.damping)


def _least(linearization: Linearization, scaling: jax.Array) -> jax.Array:
    """The damping that stands for none: below it rounding of JᵀJ damps as much."""
    epsilon = float(jnp.finfo(scaling.dtype).eps)
    return initial_damping(
        vectors.size(linearization.gradient) * epsilon, linearization.diagonal, scaling
    )
