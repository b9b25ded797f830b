"""Jacobians of residual functions: forward or reverse, whole or in chunks, in full or single
precision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr

from lmjax._src.runtime.control_flow import varying
from lmjax._src.runtime.derivatives import MISSING, forward_orders_of
from lmjax._src.runtime.jaxpr_costs import largest_array, operations

#: Bytes that the derivatives of the largest array on the way may take at once; beside them there is
#: J itself.
CHUNK_BYTES = 128 * 2**20

#: Where one of the modes needs so many times fewer passes it is taken without further ado, and for
#: so few passes both are cheap; between, the operations of both are counted.
_CLEAR, _FEW = 4, 16

Function = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Jacobians:
    """How J is computed.

    Attributes:
        mode: "forward" for P products J v, "reverse" for m products Jᵀu, "auto" for the cheaper of
            those that there are: functions with ``jax.custom_vjp`` have the latter only, loops of
            unknown length the former.
        chunk: how many of these at once; None for as many as :data:`CHUNK_BYTES` allow.
        dtype: of the derivatives, "float32" or None for that of the parameters.
    """

    mode: Literal["auto", "forward", "reverse"] = "auto"
    chunk: int | None = None
    dtype: Literal["float32"] | None = None

    def compute(self, function: Function, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(values, J) of shapes (m,) and (m, P), of a function from (P,) to (m,)."""
        params = varying(params)
        jaxpr = jax.make_jaxpr(function)(params).jaxpr
        rows, columns = jaxpr.outvars[0].aval.size, params.size
        forward = self.mode == "forward" or (
            self.mode == "auto" and _is_forward_cheaper(function, params, rows)
        )
        if forward and self.mode == "auto" and forward_orders_of(jaxpr, function, params) == 0:
            forward = False
        chunk = _fitting_chunk(jaxpr, params) if self.chunk is None else self.chunk
        try:
            return _computed(function, params, rows if not forward else columns, chunk, forward)
        except MISSING:
            if forward or self.mode != "auto":
                raise
        return _computed(function, params, columns, chunk, True)


def _computed(
    function: Function, params: jax.Array, passes: int, chunk: int, forward: bool
) -> tuple[jax.Array, jax.Array]:
    if chunk >= passes:

        def twice(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
            values = function(vector)
            return values, values

        jacobian, values = (jax.jacfwd if forward else jax.jacrev)(twice, has_aux=True)(params)
        return values, jacobian
    if forward:
        values, push = jax.linearize(function, params)
        return values, _one_by_one(push, params.dtype, passes, chunk).T
    values, pull = jax.vjp(function, params)
    return values, _one_by_one(lambda unit: pull(unit)[0], values.dtype, passes, chunk)


def _one_by_one(product: Function, dtype: jnp.dtype, size: int, chunk: int) -> jax.Array:
    """The products with all unit vectors of that size, ``chunk`` at once, stacked."""
    return jax.lax.map(
        lambda k: product(varying(jax.nn.one_hot(k, size, dtype=dtype))),
        jnp.arange(size),
        batch_size=chunk,
    )


def _fitting_chunk(jaxpr: Jaxpr, params: jax.Array) -> int:
    """As many derivatives of the largest array on the way as :data:`CHUNK_BYTES` hold."""
    return max(1, CHUNK_BYTES // (largest_array(jaxpr) * params.dtype.itemsize))


def _is_forward_cheaper(function: Function, params: jax.Array, rows: int) -> bool:
    """By the number of passes, or where these are alike by their operations, counted in the traced
    derivatives.
    """
    columns = params.size
    if not columns / _CLEAR < rows < columns * _CLEAR or min(rows, columns) < _FEW:
        return rows >= columns
    values = jax.eval_shape(function, params)

    def count(product: Callable[..., jax.Array], vector: jax.ShapeDtypeStruct) -> float:
        """Operations of one more pass: the values are computed once for all."""
        return operations(jax.make_jaxpr(product)(params, vector).jaxpr) - operations(
            jax.make_jaxpr(function)(params).jaxpr
        )

    try:
        push = count(
            lambda p, v: jax.jvp(function, (p,), (v,))[1],
            jax.ShapeDtypeStruct(params.shape, params.dtype),
        )
        pull = count(
            lambda p, u: jax.vjp(function, p)[1](u)[0],
            jax.ShapeDtypeStruct(values.shape, values.dtype),
        )
    except MISSING:  # one of them; which it is shows when it is needed
        return True
    return columns * push <= rows * pull
