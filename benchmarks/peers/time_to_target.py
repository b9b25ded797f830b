"""The way to a small error, from many starts: seconds until the mean squared error falls below each target, compilation included."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression

TARGETS = (1e-6, 1e-8)
#: Fits until the function that it is given, called with the error after every step, returns True.
Run = Callable[[Callable[[float], bool]], None]

#: A fit that has not arrived after so many seconds is given up.
_PATIENCE = 20.0


def prepare(workload: Regression, mode: Mode, method: str, starts: int = 16, **options: Any) -> Runner:
    """``method`` is one of the functions of this module; a start that never arrives counts as :data:`_PATIENCE`."""
    fit = {"lmjax": _lmjax, "torch": _torch}[method]
    names = [f"mse < {target:.0e}" for target in TARGETS]
    arrived = f"starts below {TARGETS[-1]:.0e}"

    def measure() -> dict[str, float]:
        runs = [_seconds(fit(dataclasses.replace(workload, seed=seed), **options)) for seed in range(starts)]
        times = {name: statistics.median(column) for name, column in zip(names, zip(*runs, strict=True), strict=True)}
        slowest = {f"{name}, slowest start": max(column) for name, column in zip(names, zip(*runs, strict=True), strict=True)}
        return times | slowest | {arrived: sum(run[-1] < _PATIENCE for run in runs) / starts}

    quantities = {name: Quantity("s", "lower") for name in (*names, *(f"{name}, slowest start" for name in names))}
    return Runner(measure, quantities | {arrived: Quantity("", "higher")})


def _seconds(run: Run) -> list[float]:
    """When each target was passed."""
    seconds = [_PATIENCE] * len(TARGETS)
    begin = time.perf_counter()

    def after_step(error: float) -> bool:
        now = time.perf_counter() - begin
        seconds[:] = [min(second, now) if error < target else second for second, target in zip(seconds, TARGETS, strict=True)]
        return error < TARGETS[-1] or now > _PATIENCE

    run(after_step)
    return seconds


def _lmjax(workload: Regression, dtype: str, **options: Any) -> Run:
    """``lmjax.fit``; what earlier starts compiled is forgotten before the clock starts."""
    import jax

    import lmjax
    from benchmarks.peers.lmjax_fit import network
    from lmjax import programs
    from lmjax.training import FIT_SOLVER

    params = [(kernel.astype(dtype), bias.astype(dtype)) for kernel, bias in workload.start()]
    x, y = workload.x.astype(dtype), workload.y.astype(dtype)
    solver = dataclasses.replace(FIT_SOLVER, **options)
    jax.clear_caches()
    programs.forget()

    def run(after_step: Callable[[float], bool]) -> None:
        callback = lambda _, logs: after_step(logs["loss"])  # noqa: E731
        lmjax.fit(network, params, x, y, epochs=1000, solver=solver, verbose=0, callbacks=[callback])

    return run


def _torch(workload: Regression) -> Run:
    """torch-levenberg-marquardt by its training step, Cholesky; it compiles nothing."""
    from benchmarks.peers.torch_levenberg_marquardt import trainer

    module, x, y = trainer(workload, "cholesky")

    def run(after_step: Callable[[float], bool]) -> None:
        while not after_step(float(module.training_step(x, y)[1])):
            pass

    return run
