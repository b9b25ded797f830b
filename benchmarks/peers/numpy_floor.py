"""The machine's floor in NumPy's BLAS: the symmetric product JᵀJ (SYRK) and the Cholesky factor of
it, which a dense step needs.
"""

from __future__ import annotations

import time

import numpy as np
import scipy.linalg

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression


def prepare(workload: Regression, mode: Mode, dtype: str) -> Runner:
    """J is a random matrix of the workload's shape (N·O, P)."""
    jacobian = (
        np.random.default_rng(0).normal(size=(workload.y.size, workload.num_params)).astype(dtype)
    )
    repeats = 1 if workload.num_params > 500 else 20
    ridge = np.eye(workload.num_params, dtype=dtype)

    def measure() -> dict[str, float]:
        begin = time.perf_counter()
        for _ in range(repeats):
            product = jacobian.T @ jacobian  # NumPy calls SYRK for a matrix and its own transpose
        middle = time.perf_counter()
        for _ in range(repeats):
            scipy.linalg.cho_factor(product + ridge)
        end = time.perf_counter()
        return {
            "step": (end - begin) / repeats,
            "JᵀJ": (middle - begin) / repeats,
            "Cholesky": (end - middle) / repeats,
        }

    return Runner(measure, {name: Quantity("s", "lower") for name in ("step", "JᵀJ", "Cholesky")})
