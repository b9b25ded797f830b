"""The L2 penalty of a fit as one vector."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.structure import Structure
from lmjax._src.typing import DType, Params, PyTree


def flat_penalty(l2: PyTree, params: Params, dtype: DType) -> tuple[jax.Array | None, bool]:
    """The factors of Σ l2 · params² as a vector (P,), or None, and whether they are the same
    throughout every array.

    ``l2`` is a number, a pytree that ``params`` extends, or None.
    """
    if l2 is None:
        return None, True
    spread = jax.tree.map(
        lambda factor, leaf: np.broadcast_to(np.asarray(factor, dtype), np.shape(leaf)),
        jax.tree.broadcast(l2, params),
        params,
    )
    uniform = all(
        leaf.size == 0 or bool((leaf == leaf.flat[0]).all()) for leaf in jax.tree.leaves(spread)
    )
    return jnp.asarray(Structure.of(params).flatten_concrete(spread, dtype)), uniform
