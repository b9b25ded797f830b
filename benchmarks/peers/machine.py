"""The machine's own floor, in JAX: the product JᵀJ that no step can do without, and the rate of a
large product.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression

_SIZE = 2000  #: of the large square product


def _seconds(function: Callable[..., jax.Array], *args: jax.Array, repeats: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        function(*args).block_until_ready()
    return (time.perf_counter() - begin) / repeats


def prepare(workload: Regression, mode: Mode, dtype: str) -> Runner:
    """J is a random matrix of the workload's shape (N·O, P)."""
    jax.config.update("jax_enable_x64", True)  # this process is ours
    random = np.random.default_rng(0)
    jacobian = jnp.asarray(random.normal(size=(workload.y.size, workload.num_params)), dtype)
    square = jnp.asarray(random.normal(size=(_SIZE, _SIZE)), dtype)
    gram = jax.jit(lambda J: jnp.matmul(J.T, J, precision="highest"))
    product = jax.jit(lambda A: jnp.matmul(A, A, precision="highest"))
    repeats = 10 if mode == "quick" else 50

    def measure() -> dict[str, float]:
        rate = 2 * _SIZE**3 / _seconds(product, square, repeats=max(repeats // 10, 1)) / 1e9
        return {
            "JᵀJ as J.T @ J": _seconds(gram, jacobian, repeats=repeats),
            f"rate of a {_SIZE}³ product": rate,
        }

    return Runner(
        measure,
        {
            "JᵀJ as J.T @ J": Quantity("s", "lower"),
            f"rate of a {_SIZE}³ product": Quantity("GFLOP/s", "higher"),
        },
    )
