"""Jacobians of residual functions: forward or reverse, whole or in chunks, in full or single precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from lmjax.arithmetic import largest_array, operations
from lmjax.control_flow import varying

#: Bytes that the derivatives of the largest array on the way may take at once; beside them there is J itself.
CHUNK_BYTES = 128 * 2**20

#: Where one of the modes needs so many times fewer passes it is taken without further ado, and for so few passes both are
#: cheap; between, the operations of both are counted.
_CLEAR, _FEW = 4, 16

Function = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Jacobians:
    """How J is computed.

    Attributes:
        mode: "forward" for P products J v, "reverse" for m products Jᵀu, "auto" for the cheaper.
        chunk: how many of these at once; None for as many as :data:`CHUNK_BYTES` allow.
        dtype: of the derivatives, "float32" or None for that of the parameters.
    """

    mode: Literal["auto", "forward", "reverse"] = "auto"
    chunk: int | None = None
    dtype: Literal["float32"] | None = None

    def compute(self, function: Function, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(values, J) of shapes (m,) and (m, P), of a function from (P,) to (m,)."""
        params = varying(params)
        rows, columns = jax.eval_shape(function, params).size, params.size
        forward = self.mode == "forward" or (self.mode == "auto" and _is_forward_cheaper(function, params, rows))
        passes = columns if forward else rows
        chunk = _fitting_chunk(function, params) if self.chunk is None else self.chunk
        if chunk >= passes:

            def twice(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
                values = function(vector)
                return values, values

            jacobian, values = (jax.jacfwd if forward else jax.jacrev)(twice, has_aux=True)(params)
            return values, jacobian
        if forward:
            values, push = jax.linearize(function, params)
            return values, _one_by_one(push, columns, params.dtype, passes, chunk).T
        values, pull = jax.vjp(function, params)
        return values, _one_by_one(lambda unit: pull(unit)[0], rows, values.dtype, passes, chunk)


def _one_by_one(product: Function, size: int, dtype: jnp.dtype, passes: int, chunk: int) -> jax.Array:
    """The products with all unit vectors of that size, ``chunk`` at once, stacked."""
    return jax.lax.map(lambda k: product(varying(jax.nn.one_hot(k, size, dtype=dtype))), jnp.arange(passes), batch_size=chunk)


def _fitting_chunk(function: Function, params: jax.Array) -> int:
    """As many derivatives of the largest array on the way as :data:`CHUNK_BYTES` hold."""
    return max(1, CHUNK_BYTES // (largest_array(jax.make_jaxpr(function)(params).jaxpr) * params.dtype.itemsize))


def _is_forward_cheaper(function: Function, params: jax.Array, rows: int) -> bool:
    """By the number of passes, or where these are alike by their operations, counted in the traced derivatives."""
    columns = params.size
    if not columns / _CLEAR < rows < columns * _CLEAR or min(rows, columns) < _FEW:
        return rows >= columns
    values = jax.eval_shape(function, params)

    def count(product: Callable[..., jax.Array], vector: jax.ShapeDtypeStruct) -> float:
        """Operations of one more pass: the values are computed once for all."""
        return operations(jax.make_jaxpr(product)(params, vector).jaxpr) - operations(jax.make_jaxpr(function)(params).jaxpr)

    push = count(lambda p, v: jax.jvp(function, (p,), (v,))[1], jax.ShapeDtypeStruct(params.shape, params.dtype))
    pull = count(lambda p, u: jax.vjp(function, p)[1](u)[0], jax.ShapeDtypeStruct(values.shape, values.dtype))
    return columns * push <= rows * pull
