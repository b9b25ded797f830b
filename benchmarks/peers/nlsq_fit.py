"""NLSQ (the continuation of JAXFit): ``curve_fit`` by trust regions, in float64."""

from __future__ import annotations

import sys
import time

if sys.version_info < (3, 12):
    raise ImportError(
        "NLSQ needs Python 3.12 or newer; make bench PYTHON=python3.12 VENV=.venv312 installs it"
    )

import jax.numpy as jnp
import nlsq
import numpy as np

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression

_EVALUATIONS = 20


def prepare(workload: Regression, mode: Mode) -> Runner:
    """The network as a curve of its flattened weights; a step is an evaluation of the residuals."""
    from jax.flatten_util import ravel_pytree

    from benchmarks.peers.lmjax_fit import network

    flat, unravel = ravel_pytree(workload.start())
    x, y = workload.x.T, workload.y.ravel()

    def curve(x: jnp.ndarray, *params: jnp.ndarray) -> jnp.ndarray:
        return network(unravel(jnp.stack(params)), jnp.atleast_2d(x).T).ravel()

    fitter = nlsq.CurveFit()

    def measure() -> dict[str, float]:
        begin, evaluations = time.perf_counter(), _EVALUATIONS
        try:
            result = fitter.curve_fit(
                curve, x[0] if len(x) == 1 else x, y, p0=np.asarray(flat), max_nfev=_EVALUATIONS
            )
            evaluations = int(getattr(result, "nfev", _EVALUATIONS))
        except RuntimeError as error:  # the end of its evaluations is an error to it
            if "nfev" not in str(error) and "evaluations" not in str(error):
                raise
        return {"step": (time.perf_counter() - begin) / max(evaluations, 1)}

    return Runner(measure, {"step": Quantity("s", "lower")})
