"""Jacobians by differences, of functions that JAX cannot differentiate."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from lmjax._src.typing import Array, PyTree, TreeFn


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Differences:
    """The Jacobian (m, n) of ``function(params, *args)``, (m,), in its params, (n,), for use as
    ``jac``.

    The steps are those of MINPACK, a part of each parameter, or of one where it is 0, so that units
    do not matter; they turn round before a bound. Sources: J. J. More, B. S. Garbow, K. E.
    Hillstrom, MINPACK's ``fdjac2``, 1980; for three points, whose error is of second order and
    least with ε^(1/3), W. H. Press et al., "Numerical Recipes", 2007, 5.7.
    """

    function: TreeFn = dataclasses.field(metadata={"static": True})
    central: bool = dataclasses.field(metadata={"static": True})
    lower: Array  #: (n,)
    upper: Array

    def __call__(self, params: jax.Array, *args: PyTree) -> jax.Array:
        """The derivatives, one parameter after the other."""
        epsilon = float(jnp.finfo(params.dtype).eps) ** (1 / 3 if self.central else 1 / 2)
        size = epsilon * jnp.where(params == 0, 1, jnp.abs(params))
        first = jnp.where(params + size > self.upper, -size, size)
        if self.central:
            within = (params + size <= self.upper) & (params - size >= self.lower)
            second = jnp.where(within, -first, 2 * first)
        else:
            second = first
        here = self.function(params, *args)

        def column(k: jax.Array) -> jax.Array:
            def moved(by: jax.Array) -> tuple[jax.Array, jax.Array]:
                there = params.at[k].add(by)
                # The step as it is after rounding.
                return self.function(there, *args), there[k] - params[k]

            value, a = moved(first[k])
            if not self.central:
                return (value - here) / a
            other, b = moved(second[k])
            # The slope of the parabola through all three; here has no part in it between two equal
            # steps.
            return (
                jnp.where(a == -b, 0, -(1 / a + 1 / b) * here)
                + b / (a * (b - a)) * value
                + a / (b * (a - b)) * other
            )

        return jnp.moveaxis(jax.lax.map(column, jnp.arange(params.size)), 0, -1)
