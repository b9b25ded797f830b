"""lmjax: the time of one epoch of ``lmjax.fit``, the set-up of a call taken out by subtraction."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lmjax
from benchmarks.worker import SAMPLED, Mode, Quantity, Runner, repeated
from benchmarks.workloads.regression import Regression
from lmjax._src.training.fit import FIT_SOLVER

#: Seconds for which short fits are repeated.
_LEAST = 0.5


def network(params: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    """The workload's network: tanh layers, the last one linear."""
    *hidden, (kernel, bias) = params
    for inner_kernel, inner_bias in hidden:
        x = jnp.tanh(x @ inner_kernel + inner_bias)
    return x @ kernel + bias


def prepare(
    workload: Regression,
    mode: Mode,
    dtype: str,
    steps: tuple[int, int] | None = None,
    **options: Any,
) -> Runner:
    """``options`` change those that a fit has by default; the tolerances are off so that every
    epoch is a step.
    """
    params = [(kernel.astype(dtype), bias.astype(dtype)) for kernel, bias in workload.start()]
    x, y = workload.x.astype(dtype), workload.y.astype(dtype)
    solver = dataclasses.replace(FIT_SOLVER, gtol=0, ftol=0, xtol=0, **options)
    few, many = steps or (5, 45 if mode == "quick" else 105)
    loss_name = f"mse after {many} steps"

    def run(epochs: int) -> tuple[float, lmjax.FitResult]:
        begin = time.perf_counter()
        result = lmjax.fit(network, params, x, y, epochs=epochs, solver=solver, verbose=0)
        jax.block_until_ready(result.params)
        return time.perf_counter() - begin, result

    def measure() -> dict[str, float]:
        pairs = repeated(lambda: (run(few), run(many)), _LEAST)
        times = [
            (long - short) / (len(last.history["loss"]) - len(first.history["loss"]))
            for (short, first), (long, last) in pairs
        ]
        _, (_, last) = pairs[-1]
        assert np.asarray(last.params[0][0]).dtype == dtype
        share = last.sampled_steps / len(last.history["loss"])
        return {
            "step": statistics.median(times),
            loss_name: last.history["loss"][-1],
            SAMPLED: share,
        }

    quantities = {
        "step": Quantity("s", "lower"),
        loss_name: Quantity("", "info"),
        SAMPLED: Quantity("", "info"),
    }
    return Runner(measure, quantities, warm_up=lambda: run(many))
