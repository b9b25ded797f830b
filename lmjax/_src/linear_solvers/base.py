"""The contract of a linear solver: factor once per damping, then solve for as many gradients as
needed.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax

from lmjax._src.arrays.vectors import Vector
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
        before :meth:`factor`. Nothing, here.
        """
        return linearization

    def factor(self, linearization: Linearization, damping: jax.Array, scaling: jax.Array) -> Any:
        """Factors the damped system; ``damping`` λ is a scalar, ``scaling`` D has shape (P,)."""

    def solve(self, factors: Any, gradient: Gradient) -> Vector:
        """The step of shape (P,) for one gradient."""

    def truncated(
        self,
        linearization: Linearization,
        damping: jax.Array,
        scaling: jax.Array,
        radius: jax.Array,
    ) -> tuple[Any, Vector] | None:
        """(factors, step): what :meth:`factor` gives, and a step that ends where it would leave the
        region of that ``radius``, a scalar, in the norm of D.

        None, as here, from solvers whose steps have no ends on the way: a trust region then looks
        for the λ whose step is as long.
        """
        return None
