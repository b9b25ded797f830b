"""Splitting and joining of arrays in a form that compilers get right, in the program of a user,
too, where no option of ours reaches.

Up to jaxlib 0.11.0 XLA compiles some concatenations of products along a narrow last axis wrongly
for processors (:data:`lmjax._src.runtime.faults.WORKED_AROUND`). The derivative of ``jnp.split`` is
such a concatenation. Where it matters, sums of padded pieces take their place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

#: The widest pieces that LLVM loads as one group of vectors, which is what it gets wrong
#: (max-interleave-group-factor, VectorUtils.cpp).
NARROW = 8


def parts(x: jax.Array, sections: int | Sequence[int], axis: int = -1) -> list[jax.Array]:
    """The parts of an axis: a number of equal ones, or those between indices, as ``jnp.split``
    returns them.
    """
    whole = jax.eval_shape(lambda x: jnp.split(x, sections, axis), x)
    if not any(_is_narrow(part.shape, axis) for part in whole):
        return jnp.split(x, sections, axis)
    ends = np.cumsum([part.shape[axis] for part in whole]).tolist()
    return [
        lax.slice_in_dim(x, begin, end, axis=axis) for begin, end in itertools.pairwise([0, *ends])
    ]


def joined(pieces: Sequence[jax.Array], axis: int = -1) -> jax.Array:
    """Arrays one behind the other along an axis, as ``jnp.concatenate`` joins them."""
    whole = jax.eval_shape(lambda pieces: jnp.concatenate(pieces, axis), list(pieces))
    if not (
        jnp.issubdtype(whole.dtype, jnp.floating)
        and any(_is_narrow(piece.shape, axis) for piece in pieces)
    ):
        return jnp.concatenate(pieces, axis)
    zero, begin = jnp.zeros((), whole.dtype), 0
    together = jnp.zeros(whole.shape, whole.dtype)
    for piece in pieces:
        padding = [(0, 0, 0)] * piece.ndim
        padding[axis] = begin, whole.shape[axis] - begin - piece.shape[axis], 0
        together += lax.pad(piece.astype(whole.dtype), zero, padding)
        begin += piece.shape[axis]
    return together


def _is_narrow(shape: Sequence[int], axis: int) -> bool:
    return math.prod(shape[axis % len(shape) :]) <= NARROW
