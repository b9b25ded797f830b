"""Quantiles of Student's t distribution, in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import betainc, gammaln, ndtri

from lmjax._src.runtime import control_flow

#: Where the search begins: log t from below any level that a dtype can tell from 0 to beyond the
#: tail of one degree of freedom at the level next to 1. Bisection halves it down to where Newton's
#: quadratic convergence holds.
_LOWEST, _HIGHEST, _HALVINGS, _NEWTON_STEPS = -40.0, 40.0, 24, 3

#: From this many degrees of freedom on, the expansion about the normal distribution has more
#: correct digits than the incomplete beta function, whose arguments cancel: measured at levels from
#: 0.1 to 0.99999.
_MANY_SINGLE, _MANY_DOUBLE = 100, 1000


def two_sided_quantile(level: jax.Array, degrees: jax.Array) -> jax.Array:
    """The t with P(|T| ≤ t) = ``level`` for T of ``degrees`` degrees of freedom; infinite where
    these are none.

    Args:
        level: a scalar in (0, 1), floating-point; its dtype is the result's.
        degrees: ν, a scalar.
    """
    level = jnp.asarray(level)
    nu = jnp.maximum(degrees, 1).astype(level.dtype)
    many = nu >= (_MANY_DOUBLE if level.dtype == jnp.float64 else _MANY_SINGLE)
    quantile = jnp.where(many, _by_expansion(level, nu), _by_search(level, nu))
    return jnp.where(jnp.asarray(degrees) > 0, quantile, jnp.inf)


def normal_quantile(level: jax.Array) -> jax.Array:
    """The z with P(|Z| ≤ z) = ``level`` for a standard normal Z."""
    return -ndtri((1 - level) / 2)


def _by_expansion(level: jax.Array, nu: jax.Array) -> jax.Array:
    """The expansion of Cornish and Fisher (M. Abramowitz, I. A. Stegun, "Handbook of Mathematical
    Functions", 26.7.5).
    """
    z = normal_quantile(level)
    polynomials = (
        [1, 0],
        [1 / 4, 0, 1 / 4, 0],
        [5 / 96, 0, 16 / 96, 0, 3 / 96, 0],
        [3 / 384, 0, 19 / 384, 0, 17 / 384, 0, -15 / 384, 0],
        [79 / 92160, 0, 776 / 92160, 0, 1482 / 92160, 0, -1920 / 92160, 0, -945 / 92160, 0],
    )
    terms = [jnp.polyval(jnp.asarray(coefficients, z.dtype), z) for coefficients in polynomials]
    return jnp.polyval(jnp.stack(terms[::-1]), 1 / nu)


def _by_search(level: jax.Array, nu: jax.Array) -> jax.Array:
    """Bisection, then Newton steps, in log t, of P(|T| > t) = I(ν/2, ½; ν/(ν + t²)), the incomplete
    beta function (26.7.1).
    """
    outside = 1 - level

    def excess(log_t: jax.Array) -> jax.Array:
        return (
            betainc(nu / 2, jnp.asarray(0.5, level.dtype), nu / (nu + jnp.exp(2 * log_t))) - outside
        )

    def halve(_: int, interval: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = interval
        middle = 0.5 * (low + high)
        too_small = excess(middle) > 0
        return jnp.where(too_small, middle, low), jnp.where(too_small, high, middle)

    low, high = control_flow.fori_loop(
        0, _HALVINGS, halve, (jnp.full_like(level, _LOWEST), jnp.full_like(level, _HIGHEST))
    )
    # The density, from the gamma function: d excess / d log t = -2 t f(t).
    constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * jnp.log(nu * jnp.pi)

    def correct(_: int, log_t: jax.Array) -> jax.Array:
        density = jnp.exp(constant - (nu + 1) / 2 * jnp.log1p(jnp.exp(2 * log_t) / nu))
        return jnp.clip(log_t + excess(log_t) / (2 * jnp.exp(log_t) * density), low, high)

    return jnp.exp(control_flow.fori_loop(0, _NEWTON_STEPS, correct, 0.5 * (low + high)))
