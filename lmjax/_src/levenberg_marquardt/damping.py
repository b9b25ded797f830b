"""Rules that choose the damping λ of (JᵀJ + λD) step = -Jᵀr from the gain ratio of the last trial.

A rule is a frozen dataclass of pure functions; its state is a pair of scalars.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.vectors import Vector
from lmjax._src.linear_solvers.base import LinearSolver
from lmjax._src.objectives.linearization import Linearization
from lmjax._src.typing import PyTree, Scalar

Tree = TypeVar("Tree")


class DampingState(NamedTuple):
    """What a damping rule carries from step to step.

    Attributes:
        damping: λ, a scalar of the parameters' dtype, in units of JᵀJ over those of D.
        carried: one more scalar of the rule's own, of the same dtype: for :class:`~lmjax.Nielsen`
            the factor by which the next rejection raises λ, for :class:`~lmjax.TrustRegion` the
            radius.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax
        >>> rule = lmjax.Multiplicative(shrink=0.1, grow=10.0)
        >>> state = rule.init(gauss_newton_diagonal=jnp.array([4.0, 1.0]), scaling=jnp.ones(2))
        >>> isinstance(state, lmjax.extend.DampingState)
        True
        >>> round(float(state.damping), 6), float(state.carried)
        (0.004, 10.0)
    """

    damping: jax.Array
    carried: jax.Array


def select(condition: jax.Array, chosen: Tree, other: Tree) -> Tree:
    """The pytree ``chosen`` where ``condition``, a scalar, is True, else ``other``."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), chosen, other)


class DampingRule(Protocol):
    """Chooses how steps are damped, from the gain ratios of those before.

    Implementations are frozen, hashable and without state of their own; their methods are pure and
    traced, but for :meth:`restart`. What they carry is a :class:`DampingState` of two scalars of
    the parameters' dtype. One that inherits from this class writes the first four methods and
    leaves the others as they are, if a λ is all that it chooses.

    Example:
        A rule with a λ.

        >>> import dataclasses
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> @dataclasses.dataclass(frozen=True)
        ... class Halves(lmjax.extend.DampingRule):
        ...     initial: float = 1e-2
        ...
        ...     def init(self, gauss_newton_diagonal, scaling):
        ...         damping = self.initial * jnp.max(gauss_newton_diagonal / scaling)
        ...         return lmjax.extend.DampingState(damping, jnp.zeros_like(damping))
        ...
        ...     def accept(self, state, gain_ratio):
        ...         return state._replace(damping=state.damping / 2)
        ...
        ...     def shorten(self, state):
        ...         return self.reject(state)
        ...
        ...     def reject(self, state):
        ...         return state._replace(damping=4 * state.damping)
        >>> def rosenbrock(p):
        ...     return jnp.array([10 * (p[1] - p[0] ** 2), 1 - p[0]])
        >>> solver = lmjax.LevenbergMarquardt(damping=Halves())
        >>> lmjax.least_squares(rosenbrock, np.array([-1.2, 1.0]), solver=solver).params.round(9)
        array([1., 1.])

    Example:
        One with a radius, which is at most ``largest``.

        >>> @dataclasses.dataclass(frozen=True)
        ... class Capped(lmjax.TrustRegion):
        ...     largest: float = 1.0
        ...
        ...     def accept(self, state, gain_ratio):
        ...         state = super().accept(state, gain_ratio)
        ...         return state._replace(carried=jnp.minimum(state.carried, self.largest))
        >>> solver = lmjax.LevenbergMarquardt(damping=Capped(largest=0.5))
        >>> lmjax.least_squares(rosenbrock, np.array([-1.2, 1.0]), solver=solver).params.round(9)
        array([1., 1.])
    """

    @abstractmethod
    def init(self, gauss_newton_diagonal: jax.Array, scaling: jax.Array) -> DampingState:
        """The state before the first step.

        Args:
            gauss_newton_diagonal: diag(JᵀJ) at the start, (P,).
            scaling: the D of the first step, (P,), positive.

        Returns:
            A :class:`DampingState` of two scalars of their dtype.
        """

    @abstractmethod
    def accept(self, state: DampingState, gain_ratio: jax.Array) -> DampingState:
        """The state after an accepted step.

        Args:
            state: the state that :meth:`solve` returned.
            gain_ratio: the reduction of the cost over the one that the model predicted, a scalar:
                1 where the model is exact, near 0 where the step was hardly worth it.

        Returns:
            The state for the next step.
        """

    @abstractmethod
    def shorten(self, state: DampingState) -> DampingState:
        """The state after an accepted step that followed its path in part only, because it bends
        too much (``acceleration_limit``).

        Args:
            state: the state that :meth:`solve` returned.

        Returns:
            The state for the next step.
        """

    @abstractmethod
    def reject(self, state: DampingState) -> DampingState:
        """The state after a rejected step.

        Args:
            state: the state that :meth:`solve` returned.

        Returns:
            The state for the next attempt at the same parameters.
        """

    def solve(
        self,
        linear: LinearSolver,
        linearization: Linearization,
        state: DampingState,
        scaling: jax.Array,
    ) -> tuple[PyTree, Vector, DampingState]:
        """The step to try.

        Here the step with the λ of the state, which is kept above what has any influence, in
        whatever units the residuals are, so that it never underflows.

        Args:
            linear: the linear solver, to be called as ``linear.factor(linearization, damping,
                scaling)`` and ``linear.solve(factors, linearization.source)``.
            linearization: the Gauss-Newton model at the current parameters.
            state: from :meth:`init`, :meth:`accept`, :meth:`shorten` or :meth:`reject`.
            scaling: D, (P,), positive.

        Returns:
            (factors, step, state): the factors of ``linear`` that the step comes from, the step in
            units of the parameters, (P,), and the state with the λ that they have.
        """
        damping = jnp.maximum(state.damping, idle_damping(linearization, scaling))
        factors = linear.factor(linearization, damping, scaling)
        step = linear.solve(factors, linearization.source)
        return factors, step, state._replace(damping=damping)

    def restart(self, state: DampingState) -> DampingState:
        """The state to go on with nearly undamped where a run has stopped: rejections for want of
        digits have raised λ.

        Args:
            state: the last state of the run, of NumPy's scalars.

        Returns:
            A state of NumPy's scalars; here ``state`` with λ = 0.
        """
        zero: Scalar = np.zeros_like(state.damping)
        return state._replace(damping=zero)

    @property
    def gives_damped_steps(self) -> bool:
        """Whether a step of :meth:`solve` has (M + λD) step = -gradient with the λ beside it, as
        here.

        Then the reduction that it promises follows from its length, and ``halvings`` apply. Where a
        radius ends it, the promise takes one more product with M, and rejections shorten it as it
        is.
        """
        return True


def strength(rule: DampingRule, state: DampingState) -> jax.Array:
    """What says how strongly steps are held back: λ, or the radius of a rule that has one."""
    return state.damping if rule.gives_damped_steps else state.carried


def initial_damping(
    relative: float, gauss_newton_diagonal: jax.Array, scaling: jax.Array
) -> jax.Array:
    """λ₀ = relative · max diag(JᵀJ)/D: what makes ``relative`` independent of units, whatever the
    scaling.
    """
    ratio = jnp.max(
        jnp.where(scaling > 0, gauss_newton_diagonal / jnp.where(scaling > 0, scaling, 1), 0)
    )
    return relative * jnp.where(ratio > 0, ratio, 1)


def idle_damping(linearization: Linearization, scaling: jax.Array) -> jax.Array:
    """A damping so small that not even QR of J, which squares nothing, gives another step with
    it.
    """
    epsilon = float(jnp.finfo(scaling.dtype).eps)
    return initial_damping(epsilon**2, linearization.diagonal, scaling)


@dataclasses.dataclass(frozen=True)
class Nielsen(DampingRule):
    """Damping by a smooth function of the gain ratio ρ; the default.

    An accepted step multiplies λ by max(limit, 1 - (2ρ - 1)³), with one limit after rejections and
    a lower one after a first attempt, since a λ that was raised just now should not fall back at
    once. Consecutive rejections multiply it by ``growth``, 2·``growth``, 4·``growth``, …

    Attributes:
        initial: the first λ, as a fraction of the largest diag(JᵀJ)/D.
        shrink_limit: the least factor of λ in a step that was accepted after rejections.
        first_try_limit: the least factor of λ in a step that was accepted at once.
        growth: the factor of λ at the first of several rejections.
        bent_growth: the factor of λ after a step that was cut short since its path bends.
        floor: the least λ, in units of JᵀJ/D; where it is zero, λ falls to where it has no
            influence.

    Source: H. B. Nielsen, "Damping parameter in Marquardt's method", IMM-REP-1999-05, Technical
    University of Denmark, 1999. Not from there: ``floor``, ``bent_growth``, and ``initial`` and
    ``first_try_limit``, which are 1e-3 and a third there and were chosen by the runs of
    benchmarks/results/alternatives.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> solver = lmjax.LevenbergMarquardt(damping=lmjax.Nielsen(initial=1e-3))
        >>> def residuals(p):
        ...     return jnp.array([10 * (p[1] - p[0] ** 2), 1 - p[0]])
        >>> lmjax.least_squares(residuals, np.array([-1.2, 1.0]), solver=solver).params.round(6)
        array([1., 1.])
    """

    initial: float = 0.1
    shrink_limit: float = 1 / 3
    first_try_limit: float = 1 / 20
    growth: float = 2.0
    bent_growth: float = 8.0
    floor: float = 0.0

    def init(self, gauss_newton_diagonal: jax.Array, scaling: jax.Array) -> DampingState:
        """See :class:`DampingRule`."""
        damping = initial_damping(self.initial, gauss_newton_diagonal, scaling)
        return DampingState(damping, jnp.full_like(damping, self.growth))

    def accept(self, state: DampingState, gain_ratio: jax.Array) -> DampingState:
        """See :class:`DampingRule`."""
        bounded = jnp.clip(gain_ratio, 0, 1)
        limit = jnp.where(state.carried > self.growth, self.shrink_limit, self.first_try_limit)
        factor = jnp.maximum(limit, 1 - (2 * bounded - 1) ** 3)
        return DampingState(
            jnp.maximum(state.damping * factor, self.floor),
            jnp.full_like(state.carried, self.growth),
        )

    def shorten(self, state: DampingState) -> DampingState:
        """See :class:`DampingRule`."""
        return DampingState(
            state.damping * self.bent_growth, jnp.full_like(state.carried, self.growth)
        )

    def reject(self, state: DampingState) -> DampingState:
        """See :class:`DampingRule`."""
        return DampingState(state.damping * state.carried, state.carried * 2)


@dataclasses.dataclass(frozen=True)
class Multiplicative(DampingRule):
    """Damping by fixed factors. The defaults are Marquardt's.

    Attributes:
        initial: the first λ, as a fraction of the largest diag(JᵀJ)/D.
        shrink: the factor of λ after an accepted step, below 1.
        grow: the factor of λ after a rejected step, above 1.
        floor: the least λ, in units of JᵀJ/D.

    Sources: D. W. Marquardt, SIAM J. Appl. Math. 11 (1963); M. K. Transtrum and J. P. Sethna,
    arXiv:1201.5885.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> solver = lmjax.LevenbergMarquardt(damping=lmjax.Multiplicative(shrink=0.2, grow=5.0))
        >>> def residuals(p):
        ...     return jnp.array([10 * (p[1] - p[0] ** 2), 1 - p[0]])
        >>> lmjax.least_squares(residuals, np.array([-1.2, 1.0]), solver=solver).params.round(6)
        array([1., 1.])
    """

    initial: float = 1e-3
    shrink: float = 0.1
    grow: float = 10.0
    floor: float = 0.0

    @classmethod
    def delayed_gratification(cls) -> Multiplicative:
        """Transtrum's and Sethna's factors (section 3.3): λ/5 after an accepted step, 1.5 λ after a
        rejected one.

        λ rises in small steps, so that every accepted step is about as long as it can be, and a run
        in a narrow valley stays on its floor.

        Returns:
            The rule with ``shrink`` 0.2 and ``grow`` 1.5.
        """
        return cls(shrink=0.2, grow=1.5)

    def init(self, gauss_newton_diagonal: jax.Array, scaling: jax.Array) -> DampingState:
        """See :class:`DampingRule`."""
        damping = initial_damping(self.initial, gauss_newton_diagonal, scaling)
        return DampingState(damping, jnp.full_like(damping, self.grow))

    def accept(self, state: DampingState, gain_ratio: jax.Array) -> DampingState:
        """See :class:`DampingRule`."""
        return DampingState(jnp.maximum(state.damping * self.shrink, self.floor), state.carried)

    def shorten(self, state: DampingState) -> DampingState:
        """See :class:`DampingRule`: as after a rejection."""
        return self.reject(state)

    def reject(self, state: DampingState) -> DampingState:
        """See :class:`DampingRule`."""
        return DampingState(state.damping * state.carried, state.carried)
