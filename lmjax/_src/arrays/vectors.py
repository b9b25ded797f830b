"""Arithmetic with vectors of P parameters: an array (P,), or a list of the arrays of a model.

Lists are what the dual form from the model's layers works on: slices of a vector, and pieces put
together to one, are copies, which for 13.5 million parameters take as long as the model. A diagonal
matrix is an array: of the P entries beside an array, and of one number for each array beside a
list.
"""

from __future__ import annotations

import functools
import operator
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp

from lmjax._src.arrays.products import MAX_WRITTEN_OUT
from lmjax._src.typing import DType, PyTree

#: The cosine of a tenth; and what a step towards a zero at which J is singular is of the way, at
#: the most: half of it, five eighths with acceleration. One that goes nearly all of the way goes
#: elsewhere.
_COLLINEAR, _SHORT = 0.995, 0.8

#: An array (P,), or a list of arrays with P entries in all.
Vector: TypeAlias = PyTree


def size(vector: Vector) -> int:
    """P."""
    return sum(leaf.size for leaf in jax.tree.leaves(vector))


def dtype(vector: Vector) -> DType:
    """That of all entries."""
    return jax.tree.leaves(vector)[0].dtype


def diagonal_shape(vector: Vector) -> tuple[int, ...]:
    """Of the diagonal matrices beside it."""
    return (len(vector),) if isinstance(vector, list) else vector.shape


def add(one: Vector, other: Vector) -> Vector:
    """one + other."""
    return jax.tree.map(operator.add, one, other)


def subtract(one: Vector, other: Vector) -> Vector:
    """one - other."""
    return jax.tree.map(operator.sub, one, other)


def multiply(diagonal: jax.Array, vector: Vector) -> Vector:
    """The diagonal matrix times the vector."""
    if isinstance(vector, list):
        return [diagonal[index] * leaf for index, leaf in enumerate(vector)]
    return diagonal * vector


def where(condition: jax.Array, one: Vector, other: Vector) -> Vector:
    """``one`` if the scalar ``condition`` is True, else ``other``."""
    return jax.tree.map(partial(jnp.where, condition), one, other)


def differ(one: Vector, other: Vector) -> jax.Array:
    """Whether any entries do."""
    return jnp.any(
        jnp.stack(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.any(a != b), one, other)))
    )


def any_nonzero(vector: Vector) -> jax.Array:
    """Whether any entry is not zero."""
    return jnp.any(jnp.stack([jnp.any(leaf != 0) for leaf in jax.tree.leaves(vector)]))


def dot(one: Vector, other: Vector) -> jax.Array:
    """oneᵀ other."""
    return functools.reduce(operator.add, jax.tree.leaves(jax.tree.map(_dot, one, other)))


def _dot(one: jax.Array, other: jax.Array) -> jax.Array:
    if one.ndim == 1 and 0 < one.size <= MAX_WRITTEN_OUT:
        return functools.reduce(operator.add, [one[i] * other[i] for i in range(one.size)])
    return jnp.vdot(one, other)


def length(vector: Vector) -> jax.Array:
    """√(vᵀv)."""
    return jnp.sqrt(dot(vector, vector))


def lengths(vector: Vector) -> jax.Array:
    """What a diagonal matrix D has to be multiplied with, twice, for vᵀDv: the entries of an array,
    the norms of those of a list.
    """
    if isinstance(vector, list):
        return jnp.stack([jnp.sqrt(jnp.vdot(leaf, leaf)) for leaf in vector])
    return vector


def largest(vector: Vector) -> jax.Array:
    """The greatest absolute value beside every number of a diagonal matrix."""
    if isinstance(
        vector,
        list,
        # inside of a step XLA:CPU takes 26 ms for the maximum of 13.5 million absolute values, 6
        # for these two
    ):
        return jnp.stack(
            [jnp.maximum(jnp.max(leaf, initial=0), -jnp.min(leaf, initial=0)) for leaf in vector]
        )
    return jnp.abs(vector)


def shrinks(vector: Vector, change: Vector, diagonal: jax.Array) -> jax.Array:
    """Whether ``change`` takes all of the ``vector`` part of the way to zero, to within a tenth, in
    the norm of the diagonal.
    """
    whole, changed = norm(vector, diagonal), norm(change, diagonal)
    along = dot(vector, multiply(diagonal, change))
    return (along <= -_COLLINEAR * whole * changed) & (changed < _SHORT * whole)


def quadratic(vector: Vector, diagonal: jax.Array) -> jax.Array:
    """vᵀDv."""
    factors = lengths(vector)
    return _dot(factors, diagonal * factors)


def norm(vector: Vector, diagonal: jax.Array) -> jax.Array:
    """√(vᵀDv)."""
    return jnp.sqrt(quadratic(vector, diagonal))
