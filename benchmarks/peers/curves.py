"""Small curve fits: lmjax and optimistix, as calls from Python or compiled; SciPy in a loop."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from benchmarks.worker import Mode, Quantity, Runner, repeated
from benchmarks.workloads.curves import Curves

#: Seconds for which every peer's fits are repeated: the first after a pause, in which other peers had their turn, are slow.
_LEAST = 0.5

#: SciPy's loop fits this many of the curves; all peers report the median cost of these.
_SOME = 250
_COST = f"median cost of the first {_SOME}"
_QUANTITIES = {"fit": Quantity("s", "lower"), _COST: Quantity("", "info"), "first run": Quantity("s", "lower")}


def prepare(workload: Curves, mode: Mode, kind: str, dtype: str = "float64") -> Runner:
    """``kind`` says what is run.

    "scipy" is ``curve_fit`` in a loop, or ``least_squares`` for one curve; "call" lmjax from Python with NumPy arrays, "jit"
    inside a compiled function, "batch" inside ``jit(vmap)``, "cores" inside ``jit(shard_map(vmap))`` over one device for each core;
    "optimistix" inside a compiled function.
    """
    if kind == "cores":
        jax.config.update("jax_num_cpu_devices", os.cpu_count())
    jax.config.update("jax_enable_x64", dtype == "float64" and kind != "call")  # this process is ours
    code = compile(workload.model, "model", "eval")
    x, y, start = (array.astype(dtype) for array in (workload.x, workload.y, workload.start))

    def residuals(exp: Callable[..., Any], p: Any, x: Any, y: Any) -> Any:
        return eval(code, {"p": p, "x": x, "exp": exp}) - y

    fit_all = _fitter(kind, residuals, x, y, start)
    begin = time.perf_counter()
    fit_all()
    first = time.perf_counter() - begin

    def measure() -> dict[str, float]:
        begin = time.perf_counter()
        fits = repeated(fit_all, _LEAST)
        params = fits[-1]
        seconds = (time.perf_counter() - begin) / len(fits) / len(params)
        pairs = zip(params[:_SOME].astype(float), workload.y, strict=False)
        return {"fit": seconds, _COST: float(np.median([0.5 * np.sum(residuals(np.exp, p, workload.x, each) ** 2) for p, each in pairs]))}

    measure()
    return Runner(measure, _QUANTITIES, {"first run": first})


def _fitter(kind: str, residuals: Any, x: Any, y: Any, start: Any) -> Callable[[], np.ndarray]:
    """What fits all curves once and returns the parameters (n, P); SciPy only some of them."""
    traced = functools.partial(residuals, jnp.exp)
    if kind == "scipy":
        plain = functools.partial(residuals, np.exp)
        if len(y) == 1:
            return lambda: scipy.optimize.least_squares(plain, start, args=(x, y[0]), method="lm").x[None]
        return lambda: np.array([_scipy(plain, x, each, start) for each in y[:_SOME]])
    if kind == "optimistix":
        import optimistix

        solver = optimistix.LevenbergMarquardt(rtol=1e-8, atol=1e-8)

        @jax.jit
        def compiled(y: jax.Array) -> jax.Array:
            return optimistix.least_squares(lambda p, _: traced(p, x, y), solver, jnp.asarray(start), throw=False).value

        return lambda: np.asarray(compiled(y[0]))[None]
    import lmjax

    if kind == "call":
        return lambda: np.asarray(lmjax.least_squares(traced, start, (x, y[0])).params)[None]

    def one(y: jax.Array) -> jax.Array:
        return lmjax.least_squares(traced, jnp.asarray(start), (jnp.asarray(x), y)).params

    if kind == "cores":
        lanes = jax.sharding.PartitionSpec("lanes")
        mesh = jax.sharding.Mesh(np.array(jax.devices()), ("lanes",))
        whole = jax.jit(jax.shard_map(jax.vmap(one), mesh=mesh, in_specs=lanes, out_specs=lanes))
        on_device = jax.device_put(y, jax.sharding.NamedSharding(mesh, lanes))
    else:
        whole = jax.jit(jax.vmap(one) if kind == "batch" else lambda y: one(y[0])[None])
        on_device = jnp.asarray(y)
    return lambda: np.asarray(whole(on_device))


def _scipy(residuals: Any, x: Any, y: Any, start: Any) -> Any:
    """``curve_fit``, whose defaults are MINPACK's."""
    try:
        return scipy.optimize.curve_fit(lambda x, *p: residuals(p, x, 0), x, y, start)[0]
    except RuntimeError:  # no solution found
        return start
