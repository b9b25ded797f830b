"""The L2 penalty of a fit as one vector."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.flattening import Structure


def flat_penalty(l2: Any, params: Any, dtype: np.dtype[Any]) -> jax.Array | None:
    """The factors of Σ l2 · params² as a vector (P,); ``l2`` is a number, a pytree that ``params`` extends, or None."""
    if l2 is None:
        return None
    spread = jax.tree.map(
        lambda factor, leaf: np.broadcast_to(np.asarray(factor, dtype), np.shape(leaf)), jax.tree.broadcast(l2, params), params
    )
    return jnp.asarray(Structure.of(params).flatten_concrete(spread, dtype))
