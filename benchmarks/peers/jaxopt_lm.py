"""jaxopt: Levenberg-Marquardt, its update called directly; CG by default, or Cholesky of JᵀJ."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import jaxopt
from jax.flatten_util import ravel_pytree

from benchmarks.peers.residuals import arrays, residuals
from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression

#: The most parameters for which the first state comes from ``init_state``, whose diag(JᵀJ) takes P
#: times the memory of the model: 26 GB for 2 041 parameters. Above, its λ comes from so many rows.
_MOST, _FEW = 500, 64


def prepare(workload: Regression, mode: Mode, dtype: str, **options: object) -> Runner:
    """``options`` go to the solver."""
    start, x, y = arrays(workload, dtype)
    start, unravel = ravel_pytree(start)  # it takes one array only
    solver = jaxopt.LevenbergMarquardt(
        lambda flat, data: residuals(unravel(flat), data), tol=0.0, **options
    )
    update = jax.jit(solver.update)

    def first_state() -> Any:
        if start.size <= _MOST:
            return solver.init_state(start, (x, y))
        some = slice(None, None, len(x) // _FEW)
        of_all = residuals(unravel(start), (x, y))
        gradient = jax.grad(lambda flat: 0.5 * jnp.sum(residuals(unravel(flat), (x, y)) ** 2))(
            start
        )
        state = solver.init_state(start, (x[some], y[some]))
        return state._replace(
            residual=of_all,
            value=0.5 * jnp.sum(of_all**2),
            gradient=gradient,
            error=jnp.linalg.norm(gradient),
        )

    first, steps = first_state(), 1 if start.size > _MOST else 20

    def run(steps: int) -> float:
        params, state = start, first
        begin = time.perf_counter()
        for _ in range(steps):
            params, state = jax.block_until_ready(update(params, state, (x, y)))
        return (time.perf_counter() - begin) / steps

    return Runner(
        lambda: {"step": run(steps)}, {"step": Quantity("s", "lower")}, warm_up=lambda: run(2)
    )
