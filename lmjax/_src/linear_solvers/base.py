"""The contract of a linear solver: factor once per damping, then solve for as many gradients as
needed.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax

from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.linearization import Gradient, Linearization


class LinearSolver(Protocol):
    """Solves (M + λD) step = -gradient for the Gauss-Newton matrix M; implementations are frozen
    and hashable.

    A system that cannot be factored gives a step of NaN, which the caller rejects; nothing is
    raised.
    """

    @property
    def form(self) -> Form:
        """The form in which it needs M."""

    def prepare(self, linearization: Linearization) -> Linearization:
        """Adds to a linearization what serves all dampings that are tried on it; called once,
        before :meth:`factor`.
        """

    def factor(self, linearization: Linearization, damping: jax.Array, scaling: jax.Array) -> Any:
        """Factors the damped system; ``damping`` λ is a scalar, ``scaling`` D has shape (P,)."""

    def solve(self, factors: Any, gradient: Gradient) -> jax.Array:
        """The step of shape (P,) for one gradient."""
