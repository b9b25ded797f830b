"""Whether a point is a minimum of a model around it, by NumPy's linear algebra: independent of any solver here."""

import jax
import jax.numpy as jnp
import numpy as np


def what_a_linear_step_could_gain(residual_fn, params):
    """(‖part of the residuals within reach of J‖, ‖residuals‖)."""
    with jax.enable_x64(True):
        residuals, jacobian = (np.asarray(f(jnp.asarray(params))) for f in (residual_fn, jax.jacfwd(residual_fn)))
    lengths = np.linalg.norm(jacobian, axis=0)
    scaled = jacobian / np.where(lengths > 0, lengths, 1)
    return np.linalg.norm(scaled @ np.linalg.lstsq(scaled, residuals, rcond=1e-10)[0]), np.linalg.norm(residuals)


def is_minimum_of_second_order(residual_fn, params):
    """Whether the Hessian is positive definite, clear of rounding, and a Newton step would gain next to nothing."""
    with jax.enable_x64(True):

        def cost(p):
            return 0.5 * jnp.sum(residual_fn(p) ** 2)

        value, gradient, hessian = (np.asarray(f(jnp.asarray(params, float))) for f in (cost, jax.grad(cost), jax.hessian(cost)))
    if not (np.isfinite(hessian).all() and np.all(np.diagonal(hessian) > 0)):
        return False
    scale = 1 / np.sqrt(np.diagonal(hessian))
    scaled = scale[:, None] * hessian * scale
    return np.linalg.eigvalsh(scaled)[0] > 1e-7 and scale * gradient @ np.linalg.solve(scaled, scale * gradient) <= 1e-8 * value


def is_stationary(residual_fn, params):
    """Whether a linear step would gain next to nothing, or one by the full Hessian where it is sound (J may be singular at a minimum)."""
    gain, size = what_a_linear_step_could_gain(residual_fn, params)
    return gain <= 1e-4 * size or size <= 1e-8 or is_minimum_of_second_order(residual_fn, params)
