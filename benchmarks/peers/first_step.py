"""The first step of a small model in a new process, compilation included, imports not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression

#: On every clock: from arrays of NumPy's to the parameters after a step.
_BEGIN = """
import time
import numpy as np, jax
jax.config.update("jax_enable_x64", {double})
from benchmarks.peers.residuals import arrays, residuals
from benchmarks.peers.lmjax_fit import network
from benchmarks.workloads.regression import sinc
from bridge._src.command import compilation_cache
workload = sinc(2000)
workload.start()
jax.devices()
compilation_cache.switch_on()
{imports}
begin = time.perf_counter()
"""
_END = "\nprint(time.perf_counter() - begin)"
_STEPS = {
    "lmjax": (
        False,
        "import lmjax",
        (
            "jax.block_until_ready(lmjax.fit(network, workload.start(), workload.x, "
            "workload.y, epochs=1, verbose=0).params)"
        ),
    ),
    "jaxopt": (
        True,
        "import jaxopt\nfrom jax.flatten_util import ravel_pytree",
        (
            "start, x, y = arrays(workload, 'float64')\nstart, unravel = ravel_pytree(start)\n"
            "solver = jaxopt.LevenbergMarquardt(lambda p, data: residuals(unravel(p), "
            "data), maxiter=1)\n"
            "jax.block_until_ready(solver.run(start, (x, y)))"
        ),
    ),
    "optimistix": (
        True,
        "import optimistix",
        (
            "start, x, y = arrays(workload, 'float64')\n"
            "solver = optimistix.LevenbergMarquardt(rtol=1e-6, atol=1e-6)\n"
            "jax.block_until_ready(optimistix.least_squares(residuals, solver, start, "
            "(x, y), max_steps=1, throw=False).value)"
        ),
    ),
}


def prepare(workload: Regression, mode: Mode, package: str, warm: bool = False) -> Runner:
    """``warm`` keeps compiled programs between the processes, as the command ``lmjax`` does,
    whichever package asks for them.
    """
    double, imports, step = _STEPS[package]
    code = _BEGIN.format(double=double, imports=imports) + step + _END
    cache = tempfile.TemporaryDirectory(prefix="lmjax-benchmark-")

    def measure() -> dict[str, float]:
        # The folder lives as long as this function.
        switch = {
            "LMJAX_COMPILATION_CACHE": "" if warm else "off",
            "XDG_CACHE_HOME": cache.name,
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | switch,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "Error: " in line]
            raise RuntimeError(lines[-1] if lines else done.stderr[-200:])
        return {"first step": float(done.stdout.splitlines()[-1])}

    if warm:
        measure()
    return Runner(measure, {"first step": Quantity("s", "lower")}, compiles=True)
