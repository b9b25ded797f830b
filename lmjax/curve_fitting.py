"""Curve fits with SciPy's signature: ``lmjax.curve_fit``."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.solver import LevenbergMarquardt
from lmjax.solving import least_squares


def curve_fit(
    f: Callable[..., Any],
    xdata: Any,
    ydata: Any,
    p0: Any = None,
    sigma: Any = None,
    absolute_sigma: bool = False,
    check_finite: bool = True,
    bounds: tuple[Any, Any] = (-np.inf, np.inf),
    *,
    solver: LevenbergMarquardt | None = None,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Fits ``ydata ≈ f(xdata, *params)``: takes and returns what ``scipy.optimize.curve_fit`` does, with exact Jacobians.

    Args:
        f: the curve, written with ``jax.numpy``: (xdata, p₁, …, pₙ) to an array of ydata's shape.
        xdata: what ``f`` takes first: an array, or a pytree of arrays.
        ydata: the measurements, shape (m,).
        p0: the start, shape (n,); ones when None, their number read from f's signature.
        sigma: standard deviations of ydata, shape (m,), or their covariance matrix, (m, m).
        absolute_sigma: whether ``sigma`` has the units of ydata, so that the covariance needs no estimate of the noise.
        check_finite: whether NaN or infinity in the data is an error.
        bounds: (lower, upper), each a number or of shape (n,).
        solver: options of the solver.

    Returns:
        (popt, pcov): the parameters (n,) and their covariance (n, n), as float64 NumPy arrays; pcov is infinite where
        the data do not determine the parameters.

    Raises:
        ValueError: arguments that do not fit together; the message names them.
        RuntimeError: no minimum was found; the message is that of the status.
    """
    y = np.asarray(ydata, float).reshape(-1)
    x = jax.tree.map(lambda leaf: np.asarray(leaf, float), xdata) if not isinstance(xdata, np.ndarray) else np.asarray(xdata, float)
    if y.size == 0:
        raise ValueError("ydata: there are no measurements")
    if check_finite:
        for name, leaf in (("xdata", leaf) for leaf in jax.tree.leaves(x)):
            _check_finite(name, leaf)
        _check_finite("ydata", y)
    start = np.ones(_num_parameters(f)) if p0 is None else np.atleast_1d(np.asarray(p0, float))
    solution = least_squares(_Deviations(f), start, (x, y, _whitening(sigma, y.size)), solver=solver, bounds=_bounds(bounds))
    if not solution.status.success:
        raise RuntimeError(f"curve_fit: no minimum was found. {solution.status.message}")
    return np.asarray(solution.params), np.asarray(solution.covariance(absolute_sigma=absolute_sigma))


@dataclasses.dataclass(frozen=True)
class _Deviations:
    """The residual function of a curve; equal for equal curves, so that a second fit compiles nothing."""

    curve: Callable[..., Any]

    def __call__(self, params: jax.Array, x: Any, y: jax.Array, whitening: jax.Array | None) -> jax.Array:
        values = jnp.asarray(self.curve(x, *params))
        if values.shape not in ((), y.shape) and values.size != y.size:
            raise ValueError(f"f: returned shape {values.shape} for {y.size} measurements; expected one value for each")
        deviations = jnp.broadcast_to(values, y.shape) - y if values.ndim == 0 else values.reshape(y.shape) - y
        if whitening is None:
            return deviations
        if whitening.ndim == 1:
            return deviations / whitening
        return jax.scipy.linalg.solve_triangular(whitening, deviations, lower=True)


def _whitening(sigma: Any, size: int) -> np.ndarray[Any, Any] | None:
    """Standard deviations (m,), or the lower Cholesky factor (m, m) of a covariance."""
    if sigma is None:
        return None
    array = np.asarray(sigma, float)
    if array.shape in ((), (size,)):
        if not (np.isfinite(array).all() and (array > 0).all()):
            raise ValueError("sigma: standard deviations must be finite and positive")
        return np.broadcast_to(array, (size,))
    if array.shape == (size, size):
        try:
            return np.linalg.cholesky(array)
        except np.linalg.LinAlgError:
            raise ValueError("sigma: the covariance matrix is not positive definite") from None
    raise ValueError(f"sigma: expected shape ({size},) or ({size}, {size}) for {size} measurements, got {array.shape}")


def _bounds(bounds: Any) -> tuple[Any, Any] | None:
    unlimited = isinstance(bounds, tuple) and len(bounds) == 2 and np.all(np.isneginf(bounds[0])) and np.all(np.isposinf(bounds[1]))
    if unlimited:
        return None
    try:
        lower, upper = bounds
    except (TypeError, ValueError):
        raise ValueError("bounds: expected (lower, upper), each a number or one for each parameter") from None
    return np.asarray(lower, float), np.asarray(upper, float)


def _num_parameters(f: Callable[..., Any]) -> int:
    parameters = list(inspect.signature(f).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or len(parameters) < 2:
        raise ValueError("p0: the number of parameters cannot be read from f's signature; pass a start")
    return len(parameters) - 1


def _check_finite(name: str, array: np.ndarray[Any, Any]) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {int((~np.isfinite(array)).sum())} of {array.size} values are NaN or infinite; remove them")
