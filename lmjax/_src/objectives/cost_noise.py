"""Below which reductions a cost is noise, from the rounding of parameters and residuals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


def cost_noise(cost: jax.Array, size: jax.Array) -> jax.Array:
    """The largest reduction of a ``cost`` that cannot be seen, with ``size`` = ‖J diag(p)‖ at the
    parameters p.

    Rounding them changes the residuals by about ε ‖J diag(p)‖, and so the cost by that times ‖r‖.
    """
    # The root of their product would overflow in float32 where costs are 1e20.
    seen = jnp.finfo(size.dtype).eps * jnp.sqrt(2 * cost) * size
    return seen + float(jnp.finfo(size.dtype).tiny)


def smallest_cost(dtype: DTypeLike) -> float:
    """Where the digits of a sum of squares begin to fall below the range of numbers."""
    limits = jnp.finfo(dtype)
    return float(limits.tiny) / float(limits.eps)


def cost_noise_of_rows(cost: jax.Array, size: jax.Array, num_residuals: int) -> jax.Array:
    """:func:`cost_noise` of a mean over so many residuals, whose rounding is as many accidents, not
    the worst case for all of them.

    They change the cost by ε ‖J diag(p)‖ times ‖r‖ over the root of their number; with what the
    parameters' own rounding, by at most ε/2, raises it where its gradient is zero. On sinc(10x) in
    single precision the worst case is 6 % of a loss of 2e-8, this is 6e-4, and the losses of
    neighbouring points differ by 2e-4 for no other reason.
    """
    epsilon = float(jnp.finfo(size.dtype).eps)
    return epsilon * size * (jnp.sqrt(2 * cost / num_residuals) + epsilon / 8 * size)


def vanishes(
    params: jax.Array, start: jax.Array, cost: jax.Array, start_cost: jax.Array, shrinks: jax.Array
) -> jax.Array:
    """Whether the parameters have arrived at a zero of the residuals where J is singular, and which
    is zero itself.

    Steps approach it by a constant factor and without end, since the digits of numbers near zero
    are as many as elsewhere; and the model promises nearly all of the cost in each. It is reached
    where such a step ``shrinks`` all parameters, and they are √ε of those at the start, and
    residuals ε: as they then are where they are quadratic, and beyond which JᵀJ sees nothing of
    their curvature.
    """
    epsilon = float(jnp.finfo(cost.dtype).eps)
    small = jnp.all((jnp.abs(params) <= epsilon**0.5 * jnp.abs(start)) | (start == 0))
    return shrinks & small & (cost <= epsilon**2 * start_cost)
