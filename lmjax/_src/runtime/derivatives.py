"""Which derivatives a function has: those of ``jax.custom_vjp`` have reverse mode only, callbacks
none.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr

from lmjax._src.runtime.jaxpr_costs import has_missing_rules, has_own_rules
from lmjax._src.typing import Params, PyTree, TreeFn

#: What JAX raises where a derivative does not exist; the function itself was traced before.
MISSING = (TypeError, ValueError, NotImplementedError)


def forward_orders(function: TreeFn, params: Params, *args: PyTree) -> int:
    """How often ``function(params, *args)`` can be differentiated in forward mode along params: 0,
    1, or 2 for twice and more.
    """
    return forward_orders_of(jax.make_jaxpr(function)(params, *args).jaxpr, function, params, *args)


def forward_orders_of(jaxpr: Jaxpr, function: TreeFn, params: Params, *args: PyTree) -> int:
    """:func:`forward_orders`, from the jaxpr that ``function`` has there."""
    if not has_own_rules(jaxpr):
        return 2

    def once(p: Params, *args: PyTree) -> PyTree:
        return jax.jvp(lambda q: function(q, *args), (p,), (p,))[1]

    def twice(p: Params, *args: PyTree) -> PyTree:
        return jax.jvp(lambda q: once(q, *args), (p,), (p,))[1]

    for order, derivative in enumerate((once, twice)):
        try:
            derived = jax.make_jaxpr(derivative)(params, *args)
        except MISSING:
            return order
        if has_missing_rules(derived.jaxpr):
            return order
    return 2


def linear_map(
    function: Callable[[jax.Array], jax.Array], params: jax.Array
) -> tuple[jax.Array, TreeFn, TreeFn]:
    """(function(params), v ↦ J v, u ↦ Jᵀu); where there is no forward mode, J v is the derivative
    of u ↦ Jᵀu, once more in reverse.
    """
    if forward_orders(function, params) == 0:
        values, pull_all = jax.vjp(function, params)

        def pull(covector: jax.Array) -> jax.Array:
            return pull_all(covector)[0]

        return values, lambda vector: jax.vjp(pull, jnp.zeros_like(values))[1](vector)[0], pull
    values, push = jax.linearize(function, params)
    transposed = jax.linear_transpose(push, params)
    return values, push, lambda covector: transposed(covector)[0]
