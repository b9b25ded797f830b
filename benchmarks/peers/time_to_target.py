"""The way to a small error, from many starts: seconds until the mean squared error falls below each
target, warm and with compilation.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.compilations import CompiledOnTheClockError, counted
from benchmarks.worker import SAMPLED, Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression

TARGETS = (1e-6, 1e-8)
#: Fits until the function that it is given, called with the error after every step, returns True;
#: returns how many of the steps took JᵀJ from a sample of the rows.
Run = Callable[[Callable[[float], bool]], int]

#: A fit that has not arrived after so many seconds is given up.
_PATIENCE = 20.0

_TRIES = 3


@dataclasses.dataclass
class _Way:
    """How one fit went: when it passed each target, and its steps."""

    seconds: list[float]
    steps: int = 0
    sampled: int = 0


def prepare(
    workload: Regression, mode: Mode, method: str, starts: int = 16, **options: Any
) -> Runner:
    """``method`` is one of the functions of this module; a start that never arrives counts as
    :data:`_PATIENCE`.

    Each start runs twice: after all programs were forgotten, and at once again, when nothing may be
    compiled.
    """
    forget, fit = {"lmjax": (_forget, _lmjax), "torch": (lambda: None, _torch)}[method]
    names = [f"mse < {target:.0e}" for target in TARGETS]
    with_compilation, arrived = (
        f"{names[-1]} with compilation",
        f"share of starts below {TARGETS[-1]:.0e}",
    )

    def measure() -> dict[str, float]:
        cold, warm = list[_Way](), list[_Way]()
        for seed in range(starts):
            of_seed = dataclasses.replace(workload, seed=seed)
            forget()
            cold.append(_follow(fit(of_seed, **options)))
            warm.append(_warm(lambda of_seed=of_seed: fit(of_seed, **options)))
        columns = dict(zip(names, zip(*(way.seconds for way in warm), strict=True), strict=True))
        numbers = {name: statistics.median(column) for name, column in columns.items()}
        numbers |= {f"{name}, slowest start": max(column) for name, column in columns.items()}
        numbers[with_compilation] = statistics.median(way.seconds[-1] for way in cold)
        numbers[arrived] = sum(way.seconds[-1] < _PATIENCE for way in warm) / starts
        numbers[SAMPLED] = sum(way.sampled for way in warm) / sum(way.steps for way in warm)
        return numbers | {"steps": statistics.median(way.steps for way in warm)}

    quantities = {
        name: Quantity("s", "lower")
        for name in (*names, *(f"{name}, slowest start" for name in names), with_compilation)
    }
    quantities |= {
        arrived: Quantity("", "higher"),
        SAMPLED: Quantity("", "info"),
        "steps": Quantity("", "info"),
    }
    return Runner(measure, quantities, compiles=True)


def _follow(run: Run) -> _Way:
    way = _Way([_PATIENCE] * len(TARGETS))
    begin = time.perf_counter()

    def after_step(error: float) -> bool:
        now = time.perf_counter() - begin
        way.steps += 1
        way.seconds = [
            min(second, now) if error < target else second
            for second, target in zip(way.seconds, TARGETS, strict=True)
        ]
        return error < TARGETS[-1] or now > _PATIENCE

    way.sampled = run(after_step)
    return way


def _warm(prepare: Callable[[], Run]) -> _Way:
    """A run that compiled nothing; one that went another way than the last, by the order of sums on
    several cores, is made again.
    """
    for _ in range(_TRIES):
        run = prepare()
        with counted() as names:
            way = _follow(run)
        if not names:
            return way
    raise CompiledOnTheClockError(
        f"compiled on the clock in {_TRIES} runs, in the last {', '.join(names)}"
    )


def _forget() -> None:
    """What earlier starts compiled."""
    import jax

    from lmjax._src.runtime import bounded_jit

    jax.clear_caches()
    bounded_jit.forget()


def _lmjax(workload: Regression, dtype: str, **options: Any) -> Run:
    """``lmjax.fit``."""
    import lmjax
    from benchmarks.peers.lmjax_fit import network
    from lmjax._src.training.fit import FIT_SOLVER

    params = [(kernel.astype(dtype), bias.astype(dtype)) for kernel, bias in workload.start()]
    x, y = workload.x.astype(dtype), workload.y.astype(dtype)
    solver = dataclasses.replace(FIT_SOLVER, **options)

    def run(after_step: Callable[[float], bool]) -> int:
        callback = lambda _, logs: after_step(logs["loss"])  # noqa: E731
        return lmjax.fit(
            network, params, x, y, epochs=1000, solver=solver, verbose=0, callbacks=[callback]
        ).sampled_steps

    return run


def _torch(workload: Regression) -> Run:
    """torch-levenberg-marquardt by its training step, Cholesky; it compiles nothing."""
    from benchmarks.peers.torch_levenberg_marquardt import trainer

    module, x, y = trainer(workload, "cholesky")

    def run(after_step: Callable[[float], bool]) -> int:
        while not after_step(float(module.training_step(x, y)[1])):
            pass
        return 0

    return run
