"""The diagonal D of the damping term λD: in which units the parameters are damped.

A scaling maps the diagonal of JᵀJ at the current parameters, and the D of the step before, to the
new D. All three guard against zero columns (a parameter without influence), which get the smallest
positive D of the others.

An entry of D has the unit of its parameter to the power minus two where a step's path shall not
depend on units. Two things have that unit: an entry of diag(JᵀJ), beside those of the others, and
one over the square of a parameter's size.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Protocol

import jax
import jax.numpy as jnp


class Scaling(Protocol):
    """Chooses the D of the damping term λD; implementations are frozen and hashable, their method
    is pure and traced.

    Example:
        Parameters of known units.

        >>> import dataclasses
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> @dataclasses.dataclass(frozen=True)
        ... class Units(lmjax.extend.Scaling):
        ...     units: tuple[float, ...]
        ...
        ...     def update(self, previous, gauss_newton_diagonal, sizes):
        ...         return 1 / jnp.square(jnp.asarray(self.units, previous.dtype))
        >>> solver = lmjax.LevenbergMarquardt(scaling=Units((1e-3, 1e3)))
        >>> residuals = lambda p: jnp.array([p[0] * p[1] - 1, 1e3 * p[0] - 2])
        >>> solution = lmjax.least_squares(residuals, np.array([1e-3, 1e3]), solver=solver)
        >>> solution.params.round(6).tolist()
        [0.002, 500.0]
    """

    @abstractmethod
    def update(
        self, previous: jax.Array, gauss_newton_diagonal: jax.Array, sizes: jax.Array
    ) -> jax.Array:
        """The D of the step that begins.

        Args:
            previous: the D before, (P,); zero before the first step.
            gauss_newton_diagonal: diag(JᵀJ), (P,).
            sizes: of the parameters, each in its own unit, (P,), positive: the largest absolute
                values of the last few steps. One for parameters that have a unit in common, as the
                weights of a model.

        Returns:
            D, (P,), positive, of the parameters' dtype.
        """


#: The fraction of a parameter's size that is kept in each step, where it shrinks: as fast as
#: :class:`RunningMaximum` forgets.
SIZE_MEMORY = 0.5**0.5


def sizes_after(previous: jax.Array, magnitudes: jax.Array) -> jax.Array:
    """The sizes (P,) of parameters that have come to these absolute values; zero for those that
    have never been anything else.
    """
    return jnp.maximum(SIZE_MEMORY * previous, magnitudes)


def known_sizes(
    sizes: jax.Array, gauss_newton_diagonal: jax.Array, start_cost: jax.Array
) -> jax.Array:
    """``sizes`` with that of a parameter of zero by its unit: what it would have to be to change
    the residuals by all of the start's.
    """
    column = jnp.sqrt(jnp.where(gauss_newton_diagonal > 0, gauss_newton_diagonal, 1))
    return jnp.where(
        sizes > 0, sizes, jnp.where(start_cost > 0, jnp.sqrt(2 * start_cost), 1) / column
    )


def _without_zeros(diagonal: jax.Array) -> jax.Array:
    positive = diagonal > 0
    smallest = jnp.min(jnp.where(positive, diagonal, jnp.inf))
    return jnp.where(positive, diagonal, jnp.where(jnp.isfinite(smallest), smallest, 1))


@dataclasses.dataclass(frozen=True)
class RunningMaximum(Scaling):
    """D is the largest diag(JᵀJ) seen so far to a power, fading; the default. A parameter's units
    shrink slowly, so steps into flat regions stay short.

    Attributes:
        memory: the fraction of the last diag(JᵀJ) that is kept in each step, between 0 and 1.
        power: how far the damping follows the columns of J: 1 all the way (Marquardt), 0 not at
            all, with parameters damped in units of their sizes, one half the geometric mean of the
            two. So no choice of units changes a run.

    Raises:
        ValueError: ``memory`` or ``power`` is not between 0 and 1.

    A memory and power of 1 are Moré's rule ("The Levenberg-Marquardt algorithm: implementation and
    theory", 1978, as in MINPACK). With a start from which diag(JᵀJ) falls by
    many orders of magnitude (NIST's MGH10, first start) it freezes a parameter for good; a memory
    of one half forgets soon enough. A power of one half is the lesser evil on the problems of Moré,
    Garbow and Hillstrom: at the best-known optimum in 46, 45 and 43 of 48 from their starts times
    1, 10 and 100, against 42, 36 and 31 with 1 (benchmarks/results/alternatives).

    Example:
        Moré's rule, on parameters of very different sizes.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> more = lmjax.RunningMaximum(memory=1.0, power=1.0)
        >>> solver = lmjax.LevenbergMarquardt(scaling=more)
        >>> residuals = lambda p: jnp.array([1e4 * p[0] - 2, p[1] / 1e4 - 3, p[0] * p[1] - 6])
        >>> lmjax.least_squares(residuals, np.array([1e-4, 1e4]), solver=solver).params.round(9)
        array([2.e-04, 3.e+04])
    """

    memory: float = 0.5
    power: float = 0.5

    def __post_init__(self) -> None:
        """Refuses options that no run could use."""
        for name in ("memory", "power"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name}: expected a number between 0 and 1, got {getattr(self, name)!r}"
                )

    def update(
        self, previous: jax.Array, gauss_newton_diagonal: jax.Array, sizes: jax.Array
    ) -> jax.Array:
        """See :class:`Scaling`."""
        powers = _power(gauss_newton_diagonal, self.power) / _power(sizes, 2 - 2 * self.power)
        return _without_zeros(jnp.maximum(self.memory**self.power * previous, powers))


def _power(array: jax.Array, power: float) -> jax.Array:
    """Exactly the square root for one half, the array itself for one, and one for zero."""
    if power in (0, 1):
        return array if power else jnp.ones_like(array)
    return jnp.sqrt(array) if power == 0.5 else array**power


@dataclasses.dataclass(frozen=True)
class JacobianDiagonal(Scaling):
    """D = diag(JᵀJ) at the current parameters, between two limits.

    Attributes:
        smallest: the least entry of D, in units of JᵀJ.
        largest: the largest entry of D.

    Source: D. W. Marquardt, 1963; the clamp is Ceres Solver's.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> solver = lmjax.LevenbergMarquardt(scaling=lmjax.JacobianDiagonal())
        >>> residuals = lambda p: jnp.exp(p) - jnp.array([2.0, 3.0])
        >>> lmjax.least_squares(residuals, np.zeros(2), solver=solver).params.round(4).tolist()
        [0.6931, 1.0986]
    """

    smallest: float = 1e-6
    largest: float = 1e32

    def update(
        self, previous: jax.Array, gauss_newton_diagonal: jax.Array, sizes: jax.Array
    ) -> jax.Array:
        """See :class:`Scaling`."""
        return jnp.clip(gauss_newton_diagonal, self.smallest, self.largest)


@dataclasses.dataclass(frozen=True)
class IdentityScaling(Scaling):
    """D = 1: all parameters are damped alike, as suits the weights of a network in small batches.

    Source: K. Levenberg, Q. Appl. Math. 2 (1944).

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> solver = lmjax.LevenbergMarquardt(scaling=lmjax.IdentityScaling())
        >>> residuals = lambda p: jnp.exp(p) - jnp.array([2.0, 3.0])
        >>> lmjax.least_squares(residuals, np.zeros(2), solver=solver).params.round(4).tolist()
        [0.6931, 1.0986]
    """

    def update(
        self, previous: jax.Array, gauss_newton_diagonal: jax.Array, sizes: jax.Array
    ) -> jax.Array:
        """See :class:`Scaling`."""
        return jnp.ones_like(gauss_newton_diagonal)
