"""The workload as a residual function in JAX, for peers that take one, and the time of a step from
two runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.peers.lmjax_fit import network
from benchmarks.workloads.regression import Regression

Params = list[tuple[jax.Array, jax.Array]]


def arrays(workload: Regression, dtype: str) -> tuple[Params, jax.Array, jax.Array]:
    """(start, x, y) in ``dtype``; float64 for the whole of this process if asked for."""
    jax.config.update("jax_enable_x64", dtype == "float64")
    start = [
        (jnp.asarray(kernel, dtype), jnp.asarray(bias, dtype)) for kernel, bias in workload.start()
    ]
    return start, jnp.asarray(workload.x, dtype), jnp.asarray(workload.y, dtype)


def residuals(params: Params, data: tuple[jax.Array, jax.Array]) -> jax.Array:
    """(network - y)/√N as one vector, so that half of the squared norm is half of the mean squared
    error.
    """
    x, y = data
    return ((network(params, x) - y) / y.size**0.5).ravel()


def step_seconds(run: Callable[[int], tuple[int, Any]], few: int, many: int) -> float:
    """Seconds a step: ``run(steps)`` returns (steps done, what to wait for); what is not a step is
    subtracted.
    """

    def timed(steps: int) -> tuple[float, int]:
        begin = time.perf_counter()
        done, result = run(steps)
        jax.block_until_ready(result)
        return time.perf_counter() - begin, done

    (short, first), (long, last) = timed(few), timed(many)
    if last <= first:
        raise RuntimeError(f"stopped after {last} steps of {many}")
    return (long - short) / (last - first)
