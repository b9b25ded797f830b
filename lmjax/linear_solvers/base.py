"""The contract of a linear solver: factor once per damping, then solve for as many right-hand sides as needed."""

from __future__ import annotations

from typing import Any, Protocol

import jax

from lmjax.linearization import Linearization


class LinearSolver(Protocol):
    """Solves (JᵀJ + λD) step = -gradient; implementations are frozen and hashable.

    A system that cannot be factored gives a step of NaN, which the caller rejects; nothing is raised.
    """

    def factor(self, linearization: Linearization, damping: jax.Array, scaling: jax.Array) -> Any:
        """Factors the damped system; ``damping`` λ is a scalar, ``scaling`` D has shape (P,)."""

    def solve(self, factors: Any, gradient: jax.Array) -> jax.Array:
        """The step of shape (P,) for one gradient (P,)."""
