"""Whether a point is a minimum of the linear model around it, by NumPy's least squares: independent of any solver here."""

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


def is_stationary(residual_fn, params):
    """Whether a linear step would gain next to nothing."""
    gain, size = what_a_linear_step_could_gain(residual_fn, params)
    return gain <= 1e-4 * size or size <= 1e-8
