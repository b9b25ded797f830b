"""SciPy: ``least_squares(method="lm")`` (MINPACK) with the exact Jacobian from JAX."""

from __future__ import annotations

import time

import jax
import numpy as np
import scipy.optimize
from jax.flatten_util import ravel_pytree

from benchmarks.peers.residuals import arrays, residuals
from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression


def prepare(workload: Regression, mode: Mode) -> Runner:
    """Float64, the only precision that it has; a step is an evaluation of the Jacobian with all
    that follows it.
    """
    start, x, y = arrays(workload, "float64")
    flat, unravel = ravel_pytree(start)
    evaluate = jax.jit(lambda p, data: residuals(unravel(p), data))

    @jax.jit
    def jacobian(p: jax.Array, data: tuple[jax.Array, jax.Array]) -> jax.Array:
        rows = jax.vmap(jax.grad(lambda q, x, y: evaluate(q, (x[None], y[None]))[0]), (None, 0, 0))(
            p, *data
        )
        return rows * data[1].shape[0] ** -0.5

    evaluations = 3 if flat.size > 500 else 20

    def measure() -> dict[str, float]:
        calls = 0

        def counted(p: np.ndarray) -> np.ndarray:
            nonlocal calls
            calls += 1
            return np.asarray(jacobian(p, (x, y)))

        begin = time.perf_counter()
        scipy.optimize.least_squares(
            lambda p: np.asarray(evaluate(p, (x, y))),
            np.asarray(flat),
            counted,
            method="lm",
            max_nfev=evaluations,
            ftol=1e-15,
            xtol=1e-15,
            gtol=1e-15,
        )
        return {"step": (time.perf_counter() - begin) / calls}

    return Runner(measure, {"step": Quantity("s", "lower")})
