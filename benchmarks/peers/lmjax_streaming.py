"""lmjax on rows in a file: streamed, or read into memory first."""

from __future__ import annotations

import dataclasses
import resource
from pathlib import Path

import numpy as np

import lmjax
from benchmarks.peers.lmjax_fit import network
from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.streaming import OnDisk, folder
from lmjax._src.training.fit import FIT_SOLVER


def prepare(
    workload: OnDisk, mode: Mode, rows: int, streamed: bool, sampled: bool = False
) -> Runner:
    """A step is the median of those after the first, which compiles; all rows in JᵀJ unless
    ``sampled``.
    """
    place = folder()
    x, y = workload.write(rows, Path(place.name))
    if not streamed:
        x, y = np.array(x), np.array(y)
    params = [
        (kernel.astype("float32"), bias.astype("float32")) for kernel, bias in workload.start()
    ]
    solver = dataclasses.replace(
        FIT_SOLVER, gtol=0, ftol=0, xtol=0, curvature_sample="auto" if sampled else None
    )
    steps = 4 if mode == "quick" else 8

    def measure() -> dict[str, float]:
        assert Path(place.name).exists()  # the files live as long as this function
        history = lmjax.fit(network, params, x, y, epochs=steps, solver=solver, verbose=0).history
        seconds, losses = history["seconds"], history["loss"]
        whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        return {
            "step": float(np.median(np.diff(seconds))),
            "memory in all": whole,
            "mse": losses[-1],
        }

    quantities = {
        "step": Quantity("s", "lower"),
        "memory in all": Quantity("GB", "lower"),
        "mse": Quantity("", "info"),
    }
    return Runner(measure, quantities)
