"""The diagonal D of the damping term λD: in which units the parameters are damped.

A scaling maps the diagonal of JᵀJ at the current parameters, and the D of the step before, to the new D. All
three guard against zero columns (a parameter without influence), which get the smallest positive D of the others.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp


class Scaling(Protocol):
    """What a scaling must offer; implementations are frozen and hashable."""

    def update(self, previous: jax.Array, gauss_newton_diagonal: jax.Array) -> jax.Array:
        """D of shape (P,), positive, from diag(JᵀJ) and the D before; ``previous`` is zero before the first step."""


def _without_zeros(diagonal: jax.Array) -> jax.Array:
    positive = diagonal > 0
    smallest = jnp.min(jnp.where(positive, diagonal, jnp.inf))
    return jnp.where(positive, diagonal, jnp.where(jnp.isfinite(smallest), smallest, 1))


@dataclasses.dataclass(frozen=True)
class RunningMaximum:
    """D is the largest diag(JᵀJ) seen so far to a power, fading: a parameter's units shrink slowly, so steps into flat regions stay short.

    ``memory`` is the fraction of the last diag(JᵀJ) that is kept in each step, and ``power`` says how far the damping
    follows the parameters' units: 1 all the way (Marquardt), 0 not at all (Levenberg), one half the geometric mean of
    the two. 1 and 1 are Moré's rule ("The Levenberg-Marquardt algorithm: implementation and theory", 1978, as in
    MINPACK). With a start from which diag(JᵀJ) falls by many orders of magnitude (NIST's
    MGH10, first start) it freezes a parameter for good; a memory of one half forgets soon enough. A power of one half is the
    lesser evil on the problems of Moré, Garbow and Hillstrom: at the best-known optimum in 46, 45 and 42 of 48 from their
    starts times 1, 10 and 100, against 42, 36 and 31 with 1, and 46, 45 and 41 with 0. All runs of the NIST problems but
    one are solved with 0 and with 1, and all with one half (benchmarks/results/alternatives).
    """

    memory: float = 0.5
    power: float = 0.5

    def __post_init__(self) -> None:
        """Refuses options that no run could use."""
        for name in ("memory", "power"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a number between 0 and 1, got {getattr(self, name)!r}")

    def update(self, previous: jax.Array, gauss_newton_diagonal: jax.Array) -> jax.Array:
        """See :class:`Scaling`."""
        powers = _power(gauss_newton_diagonal, self.power)
        return _without_zeros(jnp.maximum(self.memory**self.power * previous, powers))


def _power(array: jax.Array, power: float) -> jax.Array:
    """Exactly the square root for one half, and the array itself for one."""
    if power == 1:
        return array
    return jnp.sqrt(array) if power == 0.5 else array**power


@dataclasses.dataclass(frozen=True)
class JacobianDiagonal:
    """D = diag(JᵀJ) at the current parameters, clamped to [``smallest``, ``largest``].

    Source: D. W. Marquardt, 1963; the clamp is Ceres Solver's.
    """

    smallest: float = 1e-6
    largest: float = 1e32

    def update(self, previous: jax.Array, gauss_newton_diagonal: jax.Array) -> jax.Array:
        """See :class:`Scaling`."""
        return jnp.clip(gauss_newton_diagonal, self.smallest, self.largest)


@dataclasses.dataclass(frozen=True)
class IdentityScaling:
    """D = 1: all parameters are damped alike. Source: K. Levenberg, Q. Appl. Math. 2 (1944)."""

    def update(self, previous: jax.Array, gauss_newton_diagonal: jax.Array) -> jax.Array:
        """See :class:`Scaling`."""
        return jnp.ones_like(gauss_newton_diagonal)
