"""The first step of a small model in a new process, compilation included, imports not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression

_BEGIN = """
import sys, time
import numpy as np, jax
jax.config.update("jax_enable_x64", {double})
from benchmarks.peers.residuals import arrays, residuals
from benchmarks.peers.lmjax_fit import network
from benchmarks.workloads.regression import sinc
workload = sinc(2000)
jax.devices()
"""
_END = "\nprint(time.perf_counter() - begin)"
_STEPS = {
    "lmjax": (
        False,
        (
            "import lmjax\nfrom bridge.command import compilation_cache\ncompilation_cache.switch_on()\n"
            "begin = time.perf_counter()\nlmjax.fit(network, workload.start(), workload.x, workload.y, epochs=1, verbose=0)"
        ),
    ),
    "jaxopt": (
        True,
        (
            "import jaxopt\nfrom jax.flatten_util import ravel_pytree\n"
            "start, x, y = arrays(workload, 'float64')\nstart, unravel = ravel_pytree(start)\nbegin = time.perf_counter()\n"
            "solver = jaxopt.LevenbergMarquardt(lambda p, data: residuals(unravel(p), data), maxiter=1)\n"
            "jax.block_until_ready(solver.run(start, (x, y)))"
        ),
    ),
    "optimistix": (
        True,
        (
            "import optimistix\nstart, x, y = arrays(workload, 'float64')\nbegin = time.perf_counter()\n"
            "solver = optimistix.LevenbergMarquardt(rtol=1e-6, atol=1e-6)\n"
            "jax.block_until_ready(optimistix.least_squares(residuals, solver, start, (x, y), max_steps=1, throw=False).value)"
        ),
    ),
}


def prepare(workload: Regression, mode: Mode, package: str, warm: bool = False) -> Runner:
    """``warm`` keeps compiled programs between the processes, as the command ``lmjax`` does."""
    double, step = _STEPS[package]
    code = _BEGIN.format(double=double) + step + _END
    cache = tempfile.TemporaryDirectory(prefix="lmjax-benchmark-")
    switch = {"LMJAX_COMPILATION_CACHE": "" if warm else "off", "XDG_CACHE_HOME": cache.name}

    def measure() -> dict[str, float]:
        done = subprocess.run([sys.executable, "-c", code], env=os.environ | switch, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "Error: " in line]
            raise RuntimeError(lines[-1] if lines else done.stderr[-200:])
        return {"first step": float(done.stdout.splitlines()[-1])}

    if warm:
        measure()
    return Runner(measure, {"first step": Quantity("s", "lower")})
