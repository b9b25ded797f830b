"""NIST's certified problems from both starts, each run a call of its own: the geometric mean of
their times.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problems.nist import NistProblem
from benchmarks.worker import Mode, Quantity, Runner, repeated

#: Seconds for which each run is repeated.
_LEAST = 0.02

_DIGITS = 9


def prepare(
    workload: tuple[NistProblem, ...], mode: Mode, package: str, tolerance: float | None = None
) -> Runner:
    """``package`` is "lmjax" or "optimistix"; both inside ``jit``, with the start as argument."""
    jax.config.update("jax_enable_x64", True)  # this process is ours
    solvers = [(problem, _solver(package, problem, tolerance)) for problem in workload]
    runs = [
        (problem, problem.start(which), solve) for problem, solve in solvers for which in (1, 2)
    ]
    solved = f"runs with {_DIGITS} digits, of {len(runs)}"

    def count() -> float:
        return float(
            sum(
                problem.certified_digits(np.asarray(solve(start))) >= _DIGITS
                for problem, start, solve in runs
            )
        )

    def measure() -> dict[str, float]:
        return {
            "call": statistics.geometric_mean(_seconds(solve, start) for _, start, solve in runs),
            solved: count(),
        }

    return Runner(
        measure, {"call": Quantity("s", "lower"), solved: Quantity("", "higher")}, warm_up=count
    )


def _solver(
    package: str, problem: NistProblem, tolerance: float | None
) -> Callable[[np.ndarray], Any]:
    residuals = problem.residuals()
    data = tuple(jnp.asarray(column) for column in problem.data)
    if package == "optimistix":
        import optimistix

        solver = optimistix.LevenbergMarquardt(rtol=tolerance, atol=tolerance)
        run = jax.jit(
            lambda p: (
                optimistix.least_squares(
                    lambda p, _: residuals(p, *data), solver, p, max_steps=3000, throw=False
                ).value
            )
        )
    else:
        import lmjax

        run = jax.jit(lambda p: lmjax.least_squares(residuals, p, data).params)
    return lambda start: jax.block_until_ready(run(start))


def _seconds(solve: Callable[[np.ndarray], Any], start: np.ndarray) -> float:
    def call() -> float:
        begin = time.perf_counter()
        solve(start)
        return time.perf_counter() - begin

    return statistics.median(repeated(call, _LEAST))
