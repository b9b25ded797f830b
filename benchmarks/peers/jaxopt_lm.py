"""jaxopt: Levenberg-Marquardt, its update called directly; CG by default, or Cholesky of JᵀJ."""

from __future__ import annotations

import time

import jax
import jaxopt
from jax.flatten_util import ravel_pytree

from benchmarks.peers.residuals import arrays, residuals
from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression


def prepare(workload: Regression, mode: Mode, dtype: str, **options: object) -> Runner:
    """``options`` go to the solver."""
    start, x, y = arrays(workload, dtype)
    start, unravel = ravel_pytree(start)  # it takes one array only
    solver = jaxopt.LevenbergMarquardt(lambda flat, data: residuals(unravel(flat), data), tol=0.0, **options)
    update = jax.jit(solver.update)
    steps = 1 if workload.num_params > 500 else 20

    def measure() -> dict[str, float]:
        params, state = start, solver.init_state(start, (x, y))
        begin = time.perf_counter()
        for _ in range(steps):
            params, state = jax.block_until_ready(update(params, state, (x, y)))
        return {"step": (time.perf_counter() - begin) / steps}

    begin = time.perf_counter()
    jax.block_until_ready(update(start, solver.init_state(start, (x, y)), (x, y)))
    first = time.perf_counter() - begin
    return Runner(measure, {"step": Quantity("s", "lower"), "first step": Quantity("s", "lower")}, {"first step": first})
