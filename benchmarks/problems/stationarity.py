"""Whether a point is a minimum of a model around it, by NumPy's linear algebra: independent of any
solver here.
"""

import jax
import jax.numpy as jnp
import numpy as np

import lmjax


def what_a_linear_step_could_gain(residual_fn, params):
    """(‖part of the residuals within reach of J‖, ‖residuals‖); without parameters that have no
    influence in their own dtype.
    """
    with jax.enable_x64(True):
        residuals, jacobian = (
            np.asarray(f(jnp.asarray(params, float)))
            for f in (residual_fn, jax.jacfwd(residual_fn))
        )
    jacobian = jacobian[:, np.any(np.abs(jacobian) >= np.finfo(params.dtype).tiny, axis=0)]
    lengths = np.linalg.norm(jacobian, axis=0)
    scaled = jacobian / np.where(lengths > 0, lengths, 1)
    left, values, _ = np.linalg.svd(scaled, full_matrices=False)
    reached = left[:, values > len(residuals) * np.finfo(float).eps]
    return np.linalg.norm(residuals @ reached), np.linalg.norm(residuals)


def is_minimum_of_second_order(residual_fn, params, unseen=0.0):
    """Whether the Hessian is positive definite, clear of rounding, and a Newton step would gain
    next to nothing, or what is ``unseen``.
    """
    with jax.enable_x64(True):

        def cost(p):
            return 0.5 * jnp.sum(residual_fn(p) ** 2)

        value, gradient, hessian = (
            np.asarray(f(jnp.asarray(params, float)))
            for f in (cost, jax.grad(cost), jax.hessian(cost))
        )
    if not (np.isfinite(hessian).all() and np.all(np.diagonal(hessian) > 0)):
        return False
    scale = 1 / np.sqrt(np.diagonal(hessian))
    scaled = scale[:, None] * hessian * scale
    return (
        np.linalg.eigvalsh(scaled)[0] > 1e-7
        and scale * gradient @ np.linalg.solve(scaled, scale * gradient) <= 1e-8 * value + unseen
    )


#: What may be left to gain of a cost that is said to have converged: what the residuals within
#: reach of J are of all, at the most.
REACHABLE = {"float64": 1e-4, "float32": 1e-2}

#: Residuals that count as none, of functions whose terms are about one: those of singular zeros can
#: be halved for ever.
ZERO = {"float64": 1e-12, "float32": 1e-8}

#: So many roundings of the parameters count as what cannot be seen.
ROUNDINGS = 16


def is_stationary(residual_fn, params):
    """Whether a linear step from ``params`` would gain next to nothing, or no more than rounding
    the parameters, of their dtype, changes.

    Or one by the full Hessian where it is sound: J may be singular at a minimum. Computed in
    float64 from r and J alone, whatever the dtype of the parameters.
    """
    params = np.asarray(params)
    gain, size = what_a_linear_step_could_gain(residual_fn, params)
    rounding = np.finfo(params.dtype).eps * what_all_parameters_move(
        residual_fn, params.astype(float)
    )
    unseen = ROUNDINGS * rounding * (size + ROUNDINGS * rounding)
    if (
        0.5 * gain**2 <= unseen
        or size <= ZERO[params.dtype.name]
        or gain <= REACHABLE[params.dtype.name] * size
    ):
        return True
    return is_minimum_of_second_order(residual_fn, params, 2 * unseen)


def is_true(residual_fn, solution, start):
    """Whether a success is one: a stationary point, or residuals that are zero beside those of the
    start.
    """
    if solution.status is not lmjax.Status.ZERO:
        return not solution.status.success or is_stationary(residual_fn, solution.params)
    with jax.enable_x64(True):
        here, there = (
            np.linalg.norm(residual_fn(jnp.asarray(np.asarray(params, float))))
            for params in (solution.params, start)
        )
    return here <= 2 * np.finfo(np.asarray(solution.params).dtype).eps * there


def what_all_parameters_move(residual_fn, params):
    """The length of the parameters in units of the columns of J."""
    with jax.enable_x64(True):
        jacobian = np.asarray(jax.jacfwd(residual_fn)(jnp.asarray(params)))
    return np.linalg.norm(np.linalg.norm(jacobian, axis=0) * params)
