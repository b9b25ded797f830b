"""The optimisers of ``examples/poisson.py``, by its own functions, which warm themselves up and let
nothing compile on their clock.
"""

from __future__ import annotations

import importlib
from typing import Any

import jax

from benchmarks.worker import Mode, Quantity, Runner

_SECONDS = {"quick": 7.0, "full": 15.0}


def prepare(workload: dict[str, int], mode: Mode, method: str) -> Runner:
    """``method`` is one of the script's functions; of the rates of Adam that with the least cost
    counts.
    """
    script: Any = importlib.import_module("examples.poisson")
    jax.config.update("jax_enable_x64", True)  # this process is ours
    _, network, params, data, residuals = script.problem(**workload)
    settings = [(rate,) for rate in script.RATES] if method == "adam" else [()]

    def measure() -> dict[str, float]:
        runs = [
            getattr(script, method)(*setting, residuals, params, data, _SECONDS[mode])
            for setting in settings
        ]
        _, losses, fitted = min(runs, key=lambda run: run[1][-1])
        return {
            "relative error": float(script.relative_error(network, fitted)),
            "cost": float(losses[-1]),
        }

    return Runner(
        measure,
        {"relative error": Quantity("", "lower"), "cost": Quantity("", "lower")},
        compiles=True,
    )
