"""The data of a curve fit: NumPy arrays, checked, with missing values dealt with, and their errors."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import numpy as np

from lmjax.numbers import quantities

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What a curve is fitted to, in float64."""

    x: Any  #: what the curve takes first: an array, or a pytree of arrays
    y: Array  #: shape (m,)
    whitening: Array | None  #: standard deviations (m,), or the lower Cholesky factor (m, m) of a covariance


def measurements(
    xdata: Any, ydata: Any, sigma: Any, check_finite: bool | None, nan_policy: Literal["raise", "omit"] | None
) -> Measurements:
    """Reads the data as ``scipy.optimize.curve_fit`` does; the arguments are described at :func:`lmjax.curve_fit`.

    Raises:
        ValueError: what does not fit together; the message names the argument.
    """
    if nan_policy not in (None, "raise", "omit"):
        raise ValueError(f"nan_policy: expected None, 'raise' or 'omit', got {nan_policy!r}")
    if isinstance(xdata, (list, tuple, np.ndarray, jax.Array)):
        x = _as_float("xdata", xdata)
    else:
        x = jax.tree.map(lambda leaf: _as_float("xdata", leaf), xdata)
    y = _as_float("ydata", ydata).reshape(-1)
    if y.size == 0:
        raise ValueError("ydata: there are no measurements")
    deviations = None if sigma is None else _as_float("sigma", sigma)
    if check_finite or (check_finite is None and nan_policy is None):
        _refuse("ydata", y, np.isfinite)
        for leaf in jax.tree.leaves(x):
            _refuse("xdata", leaf, np.isfinite)
    elif nan_policy == "raise":
        _refuse("ydata", y, _is_number)
        for leaf in jax.tree.leaves(x):
            _refuse("xdata", leaf, _is_number)
    elif nan_policy == "omit":
        x, y, deviations = _without_nan(x, y, deviations)
    return Measurements(x, y, _whitening(deviations, y.size))


def _as_float(name: str, values: Any) -> Array:
    try:
        return np.asarray(quantities(values, name, np.dtype(np.float64)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error}") from error


def _is_number(array: Array) -> Array:
    return ~np.isnan(array)


def _refuse(name: str, array: Array, is_good: Any) -> None:
    bad = int((~is_good(array)).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {array.size} values are NaN or infinite; remove them, or pass nan_policy='omit' for NaN")


def _without_nan(x: Any, y: Array, sigma: Array | None) -> tuple[Any, Array, Array | None]:
    """All but the measurements that are NaN in y or in any predictor; these lie along the last axis of every array of x."""
    missing = np.isnan(y)
    for leaf in jax.tree.leaves(x):
        if leaf.shape[-1:] != y.shape:
            raise ValueError(f"nan_policy: 'omit' needs xdata with {y.size} measurements along its last axis, got shape {leaf.shape}")
        missing = missing | np.isnan(leaf).any(axis=tuple(range(leaf.ndim - 1)))
    if missing.all():
        raise ValueError("nan_policy: every measurement is NaN; nothing is left to fit")
    if sigma is not None and sigma.ndim:
        sigma = sigma[~missing] if sigma.ndim == 1 else sigma[np.ix_(~missing, ~missing)]
    return jax.tree.map(lambda leaf: leaf[..., ~missing], x), y[~missing], sigma


def _whitening(sigma: Array | None, size: int) -> Array | None:
    if sigma is None:
        return None
    if sigma.size == 1 or sigma.shape == (size,):
        if not (np.isfinite(sigma).all() and (sigma > 0).all()):
            raise ValueError("sigma: standard deviations must be finite and positive")
        return np.broadcast_to(sigma.reshape(-1), (size,))
    if sigma.shape == (size, size):
        try:
            return np.linalg.cholesky(sigma)
        except np.linalg.LinAlgError:
            raise ValueError("sigma: the covariance matrix is not positive definite") from None
    raise ValueError(f"sigma: expected shape ({size},) or ({size}, {size}) for {size} measurements, got {sigma.shape}")
