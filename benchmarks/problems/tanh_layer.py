"""A network of one layer of tanh units, with Keras' initial weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def network(params: dict[str, Any], x: jax.Array) -> jax.Array:
    """A layer of tanh units and a linear one."""
    hidden = jnp.tanh(x @ params["kernel"] + params["bias"])
    return hidden @ params["out"] + params["offset"]


def start(inputs: int, units: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Keras' initial weights."""
    ends = np.sqrt(6 / (inputs + units)), np.sqrt(6 / (units + 1))
    return {
        "kernel": random.uniform(-ends[0], ends[0], (inputs, units)),
        "bias": np.zeros(units),
        "out": random.uniform(-ends[1], ends[1], (units, 1)),
        "offset": np.zeros(1),
    }
