"""Derivatives of a solution in the data of its problem, by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lmjax._src.arrays import lapack
from lmjax._src.arrays.products import product
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.objectives.objective import Objective
from lmjax._src.runtime import precision
from lmjax._src.runtime.control_flow import varying
from lmjax._src.typing import PyTree

#: Up to this many parameters the Hessian is formed and its eigenvalues are taken; beyond, conjugate
#: gradients.
MAX_DENSE = 256


def with_derivatives(
    objective: Objective, bounds: Bounds | None, params: jax.Array, cost: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``params`` (P,) and ``cost`` as they are, with the derivatives that a minimum has: in both
    modes, or in reverse where the objective has no other.
    """
    if objective.forward_orders(params) == 0:
        params = differentiable_in_reverse(objective, bounds, params)
        return params, differentiable_cost_in_reverse(objective, params, cost)
    params = differentiable(objective, bounds, params)
    return params, differentiable_cost(objective, params, cost)


@jax.custom_jvp
def differentiable(objective: Objective, bounds: Bounds | None, params: jax.Array) -> jax.Array:
    """``params`` (P,) as they are, with the derivative that a minimum of the objective within the
    bounds has.

    Where the gradient g(p, data) of the cost is zero, dp = -H⁻¹ (∂g/∂data) d(data) with the full
    Hessian H, second derivatives of the residuals included (the Gauss-Newton matrix alone would be
    wrong wherever residuals are left). Parameters at a bound move with the bound, those between
    respond. Directions in which H is zero to rounding get no derivative. Forward and reverse mode,
    of any order; the start has no influence. Where the run has not converged the result is no
    derivative of anything: look at the status.

    Source: the implicit function theorem; S. G. Krantz, H. R. Parks, "The Implicit Function
    Theorem", 2002. For solvers: M. Blondel et al., "Efficient and modular implicit
    differentiation", arXiv:2105.15183.
    """
    del objective, bounds
    return params


@differentiable.defjvp
def _differentiable_jvp(
    primals: tuple[PyTree, ...], tangents: tuple[PyTree, ...]
) -> tuple[jax.Array, jax.Array]:
    with precision.usual(), precision.highest():
        return _tangents(*primals, *tangents[:2])


def _tangents(
    objective: Objective,
    bounds: Bounds | None,
    params: jax.Array,
    d_objective: Objective,
    d_bounds: PyTree,
) -> tuple[jax.Array, jax.Array]:
    params = differentiable(objective, bounds, params)
    # Captured by the linear solve, whose operands must all vary alike.
    problem = varying(objective)

    def gradient(objective: Objective, params: jax.Array) -> jax.Array:
        return jax.grad(lambda p: objective.cost(objective.evaluate(p)))(params)

    def hessian(vector: jax.Array) -> jax.Array:
        return jax.jvp(lambda p: gradient(problem, p), (params,), (varying(vector),))[1]

    _, mixed = jax.jvp(lambda o: gradient(o, params), (objective,), (d_objective,))
    if bounds is None:
        return params, _solve(hessian, -mixed, jnp.ones_like(params, bool))
    at_lower, at_upper = params <= bounds.lower, params >= bounds.upper
    held = jnp.where(at_lower, d_bounds.lower, jnp.where(at_upper, d_bounds.upper, 0))
    free = ~(at_lower | at_upper)
    return params, held + _solve(hessian, jnp.where(free, -mixed - hessian(held), 0), free)


@jax.custom_vjp
def differentiable_in_reverse(
    objective: Objective, bounds: Bounds | None, params: jax.Array
) -> jax.Array:
    """:func:`differentiable` for objectives that have reverse mode only, and in reverse mode only:
    of first order.
    """
    del objective, bounds
    return params


def _differentiable_in_reverse_forward(
    objective: Objective, bounds: Bounds | None, params: jax.Array
) -> tuple[jax.Array, PyTree]:
    return params, (objective, bounds, params)


def _differentiable_in_reverse_backward(
    kept: tuple[PyTree, Bounds | None, jax.Array], cotangent: jax.Array
) -> tuple[PyTree, PyTree, jax.Array]:
    with precision.usual(), precision.highest():
        return _cotangents(*kept, cotangent)


def _cotangents(
    objective: Objective, bounds: Bounds | None, params: jax.Array, cotangent: jax.Array
) -> tuple[PyTree, PyTree, jax.Array]:
    def gradient(objective: Objective, params: jax.Array) -> jax.Array:
        return jax.grad(lambda p: objective.cost(objective.evaluate(p)))(params)

    # Along params the derivative is the Hessian, which is symmetric.
    _, pull = jax.vjp(gradient, objective, params)
    at_lower, at_upper = (
        (params <= bounds.lower, params >= bounds.upper) if bounds is not None else (False, False)
    )
    free = jnp.broadcast_to(~jnp.logical_or(at_lower, at_upper), params.shape)
    response = _solve(lambda vector: pull(vector)[1], jnp.where(free, cotangent, 0), free)
    of_objective, of_held = pull(-response)
    if bounds is None:
        return of_objective, None, jnp.zeros_like(params)
    of_bounds = cotangent + of_held
    return (
        of_objective,
        Bounds(jnp.where(at_lower, of_bounds, 0), jnp.where(~at_lower & at_upper, of_bounds, 0)),
        jnp.zeros_like(params),
    )


differentiable_in_reverse.defvjp(
    _differentiable_in_reverse_forward, _differentiable_in_reverse_backward
)


def _solve(
    hessian: Callable[[jax.Array], jax.Array], target: jax.Array, free: jax.Array
) -> jax.Array:
    """H⁻¹ target among the free parameters, zero for the others."""

    def curved(vector: jax.Array) -> jax.Array:
        return jnp.where(free, hessian(jnp.where(free, vector, 0)), 0)

    def solve(_: PyTree, target: jax.Array) -> jax.Array:
        if target.size > MAX_DENSE:
            return jax.scipy.sparse.linalg.cg(
                curved, target, tol=float(jnp.finfo(target.dtype).eps) * 10
            )[0]
        matrix = jax.vmap(curved)(jnp.eye(target.size, dtype=target.dtype))
        diagonal = jnp.abs(jnp.diagonal(matrix))
        scale = jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1))
        values, vectors = lapack.eigh(scale[:, None] * matrix * scale[None, :])
        zero = jnp.abs(values) <= target.size * jnp.finfo(target.dtype).eps * jnp.max(
            jnp.abs(values)
        )
        reciprocals = jnp.where(zero, 0, 1 / jnp.where(zero, 1, values))
        inner = reciprocals * product(scale * target, vectors)
        return scale * product(vectors, inner)

    return jnp.where(free, jax.lax.custom_linear_solve(curved, target, solve, symmetric=True), 0)


@jax.custom_jvp
def differentiable_cost(objective: Objective, params: jax.Array, cost: jax.Array) -> jax.Array:
    """``cost`` as it is, with the derivative of the objective's cost at ``params``."""
    del objective, params
    return cost


@differentiable_cost.defjvp
def _differentiable_cost_jvp(
    primals: tuple[PyTree, ...], tangents: tuple[PyTree, ...]
) -> tuple[jax.Array, jax.Array]:
    objective, params, cost = primals
    with precision.usual(), precision.highest():
        _, tangent = jax.jvp(lambda o, p: o.cost(o.evaluate(p)), (objective, params), tangents[:2])
    return differentiable_cost(objective, params, cost), tangent.astype(cost.dtype)


@jax.custom_vjp
def differentiable_cost_in_reverse(
    objective: Objective, params: jax.Array, cost: jax.Array
) -> jax.Array:
    """:func:`differentiable_cost` in reverse mode only."""
    del objective, params
    return cost


def _differentiable_cost_in_reverse_forward(
    objective: Objective, params: jax.Array, cost: jax.Array
) -> tuple[jax.Array, PyTree]:
    return cost, (objective, params)


def _differentiable_cost_in_reverse_backward(
    kept: tuple[PyTree, jax.Array], cotangent: jax.Array
) -> tuple[PyTree, jax.Array, jax.Array]:
    with precision.usual(), precision.highest():
        _, pull = jax.vjp(lambda o, p: o.cost(o.evaluate(p)), *kept)
        return *pull(cotangent), jnp.zeros_like(cotangent)


differentiable_cost_in_reverse.defvjp(
    _differentiable_cost_in_reverse_forward, _differentiable_cost_in_reverse_backward
)
