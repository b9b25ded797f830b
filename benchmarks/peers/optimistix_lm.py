"""optimistix: Levenberg-Marquardt with its defaults (QR of the damped Jacobian)."""

from __future__ import annotations

import optimistix

from benchmarks.peers.residuals import arrays, residuals, step_seconds
from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression


def prepare(workload: Regression, mode: Mode, dtype: str) -> Runner:
    """Tolerances of zero, so that it runs for as many steps as it may."""
    start, x, y = arrays(workload, dtype)
    solver = optimistix.LevenbergMarquardt(rtol=0.0, atol=0.0)
    steps = 3 if workload.num_params > 500 else 20

    def run(limit: int) -> tuple[int, object]:
        solution = optimistix.least_squares(
            residuals, solver, start, (x, y), max_steps=limit, throw=False
        )
        return int(solution.stats["num_steps"]), solution.value

    def measure() -> dict[str, float]:
        return {"step": step_seconds(run, 1, steps)}

    return Runner(measure, {"step": Quantity("s", "lower")})
