"""The data of a curve fit: NumPy arrays, checked, with missing values dealt with, and their
errors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import numpy as np

from lmjax._src.arrays.numbers import quantities
from lmjax._src.typing import Array, ArrayLike, NumpyArray, PyTree


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What a curve is fitted to, in float64."""

    x: PyTree  #: what the curve takes first: an array, or a pytree of arrays
    y: NumpyArray  #: shape (m,)
    #: standard deviations (m,), or the lower Cholesky factor (m, m) of a covariance
    whitening: NumpyArray | None
    weights: NumpyArray | None = None  #: of the squared deviations, (m,)

    @property
    def is_separate(self) -> bool:
        """Whether each has its own error."""
        return self.whitening is None or self.whitening.ndim == 1

    def filled(self, length: int) -> Measurements:
        """With as many measurements, the last one again and again with weight zero; the deviations,
        if any, one for each.
        """
        missing = length - self.y.size

        def fill(leaf: Array) -> Array:
            return (
                np.concatenate([leaf, np.repeat(leaf[..., -1:], missing, -1)], -1)
                if leaf.shape[-1:] == self.y.shape
                else leaf
            )

        return Measurements(
            jax.tree.map(fill, self.x),
            fill(self.y),
            None if self.whitening is None else fill(self.whitening),
            np.concatenate(
                [np.ones_like(self.y) if self.weights is None else self.weights, np.zeros(missing)]
            ),
        )


def measurements(
    xdata: PyTree,
    ydata: ArrayLike,
    sigma: PyTree,
    weights: PyTree,
    check_finite: bool | None,
    nan_policy: Literal["raise", "omit"] | None,
    count: Callable[[PyTree], int],
) -> Measurements:
    """Reads the data as ``scipy.optimize.curve_fit`` does; the arguments are described at
    :func:`lmjax.curve_fit`.

    ``count`` tells from x how many values the curve has: as many measurements are meant by one
    number.

    Raises:
        ValueError: what does not fit together; the message names the argument.
    """
    if nan_policy not in (None, "raise", "omit"):
        raise ValueError(f"nan_policy: expected None, 'raise' or 'omit', got {nan_policy!r}")
    if isinstance(xdata, (list, tuple, np.ndarray, jax.Array)):
        x = _as_float("xdata", xdata)
    else:
        x = jax.tree.map(lambda leaf: _as_float("xdata", leaf), xdata)
    y = _as_float("ydata", ydata)
    y = y.reshape(-1) if y.ndim else np.full(count(x), y)
    if y.size == 0:
        raise ValueError("ydata: there are no measurements")
    if sigma is not None and weights is not None:
        raise ValueError("weights, sigma: give one of them; weights are 1/sigma²")
    deviations = None if sigma is None else _as_float("sigma", sigma)
    factors = None if weights is None else _one_each("weights", weights, y.size)
    if check_finite or (check_finite is None and nan_policy is None):
        _refuse("ydata", y, np.isfinite)
        for leaf in jax.tree.leaves(x):
            _refuse("xdata", leaf, np.isfinite)
    elif nan_policy == "raise":
        _refuse("ydata", y, _is_number)
        for leaf in jax.tree.leaves(x):
            _refuse("xdata", leaf, _is_number)
    elif nan_policy == "omit":
        present = ~_missing(x, y)
        x, y = jax.tree.map(lambda leaf: leaf[..., present], x), y[present]
        if deviations is not None and deviations.size > 1:
            deviations = deviations[present if deviations.ndim == 1 else np.ix_(present, present)]
        factors = None if factors is None else factors[present]
    return Measurements(x, y, _whitening(deviations, y.size), factors)


def _one_each(name: str, values: ArrayLike, size: int) -> NumpyArray:
    array = _as_float(name, values)
    if array.shape not in ((), (1,), (size,)):
        raise ValueError(
            f"{name}: expected a number or shape ({size},) for {size} measurements, got "
            f"{array.shape}"
        )
    return np.broadcast_to(array.reshape(-1), (size,))


def _as_float(name: str, values: ArrayLike) -> NumpyArray:
    try:
        return np.asarray(quantities(values, name, np.dtype(np.float64)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error}") from error


def _is_number(array: NumpyArray) -> NumpyArray:
    return ~np.isnan(array)


def _refuse(name: str, array: NumpyArray, is_good: Callable[[NumpyArray], NumpyArray]) -> None:
    bad = int((~is_good(array)).sum())
    if bad:
        raise ValueError(
            f"{name}: {bad} of {array.size} values are NaN or infinite; remove them, or "
            "pass nan_policy='omit' for NaN"
        )


def _missing(x: PyTree, y: NumpyArray) -> NumpyArray:
    """Which measurements are NaN in y or in any predictor; these lie along the last axis of every
    array of x.
    """
    missing = np.isnan(y)
    for leaf in jax.tree.leaves(x):
        if leaf.shape[-1:] != y.shape:
            raise ValueError(
                f"nan_policy: 'omit' needs xdata with {y.size} measurements along its "
                f"last axis, got shape {leaf.shape}"
            )
        missing = missing | np.isnan(leaf).any(axis=tuple(range(leaf.ndim - 1)))
    if missing.all():
        raise ValueError("nan_policy: every measurement is NaN; nothing is left to fit")
    return missing


def _whitening(sigma: NumpyArray | None, size: int) -> NumpyArray | None:
    if sigma is None:
        return None
    if not np.isfinite(sigma).all():
        raise ValueError("sigma: standard deviations and covariances must be finite")
    if sigma.shape in ((), (1,), (size,)):
        if not (sigma > 0).all():
            raise ValueError("sigma: standard deviations must be positive")
        return np.broadcast_to(sigma.reshape(-1), (size,))
    if sigma.shape == (size, size):
        return _root(sigma)
    raise ValueError(
        f"sigma: expected shape ({size},) or ({size}, {size}) for {size} measurements, "
        f"got {sigma.shape}"
    )


def _root(covariance: NumpyArray) -> NumpyArray:
    """The lower Cholesky factor."""
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise ValueError("sigma: the covariance matrix is not positive definite") from None
    # What is left of a variance, given the others, must be more than the rounding of the
    # factorisation.
    left, rounding = np.diag(root) ** 2, len(root) * np.finfo(root.dtype).eps
    if not (left > rounding * np.diag(covariance)).all():
        raise ValueError(
            "sigma: the covariance matrix is not positive definite to rounding: some "
            "measurements follow from the others"
        )
    return root
