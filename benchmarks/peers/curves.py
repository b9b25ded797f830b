"""Small curve fits: lmjax and optimistix, as calls from Python or compiled; SciPy in a loop."""

from __future__ import annotations

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

#: Seconds for which every peer's fits are repeated: the first after a pause, in which other peers
#: had their turn, are slow.
_LEAST = 0.5

#: SciPy's loop fits this many of the curves; all peers report the median cost of these.
_SOME = 250
_COST = f"median cost of the first {_SOME}"
_QUANTITIES = {"fit": Quantity("s", "lower"), _COST: Quantity("", "info")}


def prepare(workload: Curves, mode: Mode, kind: str, dtype: str = "float64") -> Runner:
    """``kind`` says what is run.

    "scipy" is ``curve_fit`` in a loop, or ``least_squares`` for one curve; "call" lmjax from Python
    with NumPy arrays, "jit" inside a compiled function, "batch" inside ``jit(vmap)``, "cores"
    inside ``jit(shard_map(vmap))`` over one device for each core; "optimistix" inside a compiled
    function.
    """
    if kind == "cores":
        jax.config.update("jax_num_cpu_devices", os.cpu_count())
    # This process is ours.
    jax.config.update("jax_enable_x64", dtype == "float64" and kind != "call")
    # A plain function, since SciPy calls it for every evaluation.
    model = eval(f"lambda exp, p, x: {workload.model}")
    x, y, start = (array.astype(dtype) for array in (workload.x, workload.y, workload.start))

    def residuals(exp: Callable[..., Any], p: Any, x: Any, y: Any) -> Any:
        return model(exp, p, x) - y

    fit_all = _fitter(kind, model, x, y, start)

    def measure() -> dict[str, float]:
        begin = time.perf_counter()
        fits = repeated(fit_all, _LEAST)
        params = fits[-1]
        seconds = (time.perf_counter() - begin) / len(fits) / len(params)
        pairs = zip(params[:_SOME].astype(float), workload.y, strict=False)
        return {
            "fit": seconds,
            _COST: float(
                np.median(
                    [0.5 * np.sum(residuals(np.exp, p, workload.x, each) ** 2) for p, each in pairs]
                )
            ),
        }

    return Runner(measure, _QUANTITIES, warm_up=fit_all)


def _fitter(kind: str, model: Any, x: Any, y: Any, start: Any) -> Callable[[], np.ndarray]:
    """What fits all curves once and returns the parameters (n, P); SciPy only some of them.

    Data and start are arguments of what is compiled: what XLA could compute from constants is on
    SciPy's clock.
    """
    if kind == "scipy":
        if len(y) == 1:
            plain = lambda p, x, y: model(np.exp, p, x) - y  # noqa: E731
            return lambda: scipy.optimize.least_squares(
                plain, start, args=(x, y[0]), method="lm"
            ).x[None]
        curve = lambda x, *p: model(np.exp, p, x)  # noqa: E731
        return lambda: np.array([_scipy(curve, x, each, start) for each in y[:_SOME]])

    def residuals(p: Any, x: Any, y: Any) -> Any:
        return model(jnp.exp, p, x) - y

    if kind == "call":
        import lmjax

        return lambda: np.asarray(lmjax.least_squares(residuals, start, (x, y[0])).params)[None]
    one = _optimistix(residuals) if kind == "optimistix" else _lmjax(residuals)
    if kind in ("batch", "cores"):
        one = jax.vmap(one, (0, None, None))
    if kind == "cores":
        lanes, everywhere = jax.sharding.PartitionSpec("lanes"), jax.sharding.PartitionSpec()
        mesh = jax.sharding.Mesh(np.array(jax.devices()), ("lanes",))
        placed = [
            jax.device_put(array, jax.sharding.NamedSharding(mesh, spec))
            for array, spec in ((y, lanes), (x, everywhere), (start, everywhere))
        ]
        whole = jax.jit(
            jax.shard_map(one, mesh=mesh, in_specs=(lanes, everywhere, everywhere), out_specs=lanes)
        )
        return lambda: np.asarray(whole(*placed))
    arrays = [jnp.asarray(array) for array in (y if kind == "batch" else y[0], x, start)]
    compiled = jax.jit(one)
    return lambda: np.asarray(compiled(*arrays)).reshape(-1, start.size)


def _lmjax(residuals: Any) -> Callable[..., jax.Array]:
    import lmjax

    return lambda y, x, start: lmjax.least_squares(residuals, start, (x, y)).params


def _optimistix(residuals: Any) -> Callable[..., jax.Array]:
    import optimistix

    solver = optimistix.LevenbergMarquardt(rtol=1e-8, atol=1e-8)
    return lambda y, x, start: (
        optimistix.least_squares(
            lambda p, data: residuals(p, *data), solver, start, (x, y), throw=False
        ).value
    )


def _scipy(curve: Any, x: Any, y: Any, start: Any) -> Any:
    """``curve_fit``, whose defaults are MINPACK's."""
    try:
        return scipy.optimize.curve_fit(curve, x, y, start)[0]
    except RuntimeError:  # no solution found
        return start
