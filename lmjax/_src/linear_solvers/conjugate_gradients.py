"""Conjugate gradients: no matrix at all."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.linear_solvers.base import LinearSolver
from lmjax._src.linear_solvers.nystrom import Preconditioner, preconditioner, sketched
from lmjax._src.objectives.curvature import Curvature, Form
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.runtime import control_flow


class _System(NamedTuple):
    curvature: Curvature
    shift: jax.Array  #: λD, (P,)
    preconditioner: Preconditioner
    tolerance: jax.Array
    scaling: jax.Array  #: D, in whose norm the radius is
    radius: jax.Array | None = None  #: that the step may not leave


class _Iterate(NamedTuple):
    step: jax.Array
    remainder: jax.Array  #: -gradient - (M + λD) step
    direction: jax.Array
    size: jax.Array  #: remainderᵀ preconditioner⁻¹ remainder
    iterations: jax.Array
    go_on: jax.Array


@dataclasses.dataclass(frozen=True)
class ConjugateGradients(LinearSolver):
    """Truncated conjugate gradients, preconditioned; memory for a few vectors of P numbers, and
    twice ``rank`` more.

    The preconditioner is a random sketch of the matrix, from ``rank`` products with it once a
    linearization, which serves all dampings that are tried there: it takes the largest ``rank``
    eigenvalues out of the condition number; with a rank of 0, the diagonal. On matrices of order
    400 whose eigenvalues fall over eight decades, at λ = 1e-6, rank 30 needs a fifth of the
    products that the diagonal needs, sketch included.

    Each iteration is one product with J and one with Jᵀ (``jvp`` and ``vjp``). It ends when the
    remainder has fallen to a fraction η of the gradient, in the preconditioner's norm; where the
    curvature along a direction is not positive (rounding can do that); on the edge of the trust
    region, if :class:`~lmjax.TrustRegion` sets the damping; or after ``max_iterations``. Early ends
    are descent steps all the same, shorter than the full one. η = ``forcing`` · (gradient now /
    gradient before the last step)², at most ``largest``, so that few iterations are spent far from
    a minimum and enough near one.

    Attributes:
        forcing: the factor of η, positive.
        largest: the largest η, between 0 and 1.
        max_iterations: the limit on iterations for one step.
        rank: the number of products with the matrix that the preconditioner is made of; 0 for the
            diagonal.

    Raises:
        ValueError: an option is out of its range.

    Sources: T. Steihaug, SIAM J. Numer. Anal. 20 (1983); S. C. Eisenstat, H. F. Walker, "Choosing
    the forcing terms in an inexact Newton method", SIAM J. Sci. Comput. 17 (1996), choice 2.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.ConjugateGradients(rank=2))
        >>> residuals = lambda p: jnp.exp(p) - jnp.array([2.0, 3.0])
        >>> solution = lmjax.least_squares(residuals, np.zeros(2), solver=solver)
        >>> solution.params.round(4).tolist(), solution.linear_solver
        ([0.6931, 1.0986], 'ConjugateGradients')
    """

    forcing: float = 0.9
    largest: float = 0.1
    max_iterations: int = 500
    rank: int = 20

    form: ClassVar[Form] = Form.OPERATOR

    def __post_init__(self) -> None:
        """Refuses options that no run could use."""
        if not (0 < self.largest < 1):
            raise ValueError(f"largest: expected a number between 0 and 1, got {self.largest!r}")
        if not self.forcing > 0:
            raise ValueError(f"forcing: expected a positive number, got {self.forcing!r}")
        if not (isinstance(self.max_iterations, int) and self.max_iterations >= 1):
            raise ValueError(
                "max_iterations: expected a whole number of at least 1, got "
                f"{self.max_iterations!r}"
            )
        if not (isinstance(self.rank, int) and self.rank >= 0):
            raise ValueError(f"rank: expected a whole number of at least 0, got {self.rank!r}")

    def prepare(self, linearization: Linearization) -> Linearization:
        """See :class:`~lmjax.extend.LinearSolver`: the sketch."""
        return sketched(linearization, self.rank) if self.rank else linearization

    def factor(
        self, linearization: Linearization, damping: jax.Array, scaling: jax.Array
    ) -> _System:
        """See :class:`~lmjax.extend.LinearSolver`."""
        shift = damping * scaling
        floor = 10 * jnp.finfo(shift.dtype).eps
        tolerance = jnp.clip(
            self.forcing * jnp.square(jnp.asarray(linearization.decrease, shift.dtype)),
            floor,
            self.largest,
        )
        conditioned = preconditioner(linearization.curvature, linearization.diagonal, shift)
        return _System(linearization.curvature, shift, conditioned, tolerance, scaling)

    def truncated(
        self,
        linearization: Linearization,
        damping: jax.Array,
        scaling: jax.Array,
        radius: jax.Array,
    ) -> tuple[_System, jax.Array]:
        """See :class:`~lmjax.extend.LinearSolver`: with D as preconditioner, so that iterates grow
        in its norm and the first is the steepest descent in it (Steihaug).
        """
        factors = self.factor(linearization, damping, scaling)
        within = factors._replace(radius=radius, preconditioner=Preconditioner(jnp.sqrt(scaling)))
        return factors, self.solve(within, linearization.source)

    def solve(self, factors: _System, gradient: Gradient) -> jax.Array:
        """See :class:`~lmjax.extend.LinearSolver`."""
        assert gradient.rest is not None
        start = -gradient.rest
        direction = factors.preconditioner(start)
        size = jnp.vdot(start, direction)

        def advance(now: _Iterate) -> _Iterate:
            image = factors.curvature.product(now.direction) + factors.shift * now.direction
            bend = jnp.vdot(now.direction, image)
            length, inside = now.size / jnp.where(bend > 0, bend, 1), jnp.asarray(True)
            if factors.radius is not None:
                edge = _to_the_edge(factors, now)
                length, inside = jnp.minimum(length, edge), length < edge
            remainder = now.remainder - length * image
            conditioned = factors.preconditioner(remainder)
            new_size = jnp.vdot(remainder, conditioned)
            following = _Iterate(
                now.step + length * now.direction,
                remainder,
                conditioned + new_size / now.size * now.direction,
                new_size,
                now.iterations + 1,
                inside & (new_size > jnp.square(factors.tolerance) * size),
            )
            stopped = now._replace(go_on=jnp.asarray(False))
            return jax.tree.map(lambda new, old: jnp.where(bend > 0, new, old), following, stopped)

        first = _Iterate(
            jnp.zeros_like(start), start, direction, size, jnp.zeros((), jnp.int32), ~(size <= 0)
        )
        return control_flow.while_loop(
            lambda now: now.go_on & (now.iterations < self.max_iterations), advance, first
        ).step


def _to_the_edge(factors: _System, now: _Iterate) -> jax.Array:
    """How far along its direction an iterate, which lies inside, meets the radius: the positive
    root of a quadratic.
    """
    scaling, radius = factors.scaling, factors.radius
    assert radius is not None
    across = jnp.vdot(now.step, scaling * now.direction)
    along = jnp.vdot(now.direction, scaling * now.direction)
    inside = jnp.square(radius) - jnp.vdot(now.step, scaling * now.step)
    # The root in the form without cancellation for directions that lead outwards, as all but
    # rounding does here.
    return inside / (across + jnp.sqrt(jnp.square(across) + along * inside))
