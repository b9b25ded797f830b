"""Curve fits with SciPy's signature: ``lmjax.curve_fit``."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef

from lmjax._src.arrays.differences import Differences
from lmjax._src.least_squares.least_squares import solved
from lmjax._src.least_squares.measurements import Measurements, measurements
from lmjax._src.least_squares.pointwise import is_pointwise
from lmjax._src.least_squares.reports.curve import origin_of
from lmjax._src.least_squares.reports.origin import Origin
from lmjax._src.least_squares.solution import Solution
from lmjax._src.least_squares.watching.watch import Callback, watch_of
from lmjax._src.levenberg_marquardt.effects import check_solver
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.status import ConvergenceWarning, Status
from lmjax._src.objectives.robust import ROBUST_LOSSES, RobustLoss
from lmjax._src.runtime import precision
from lmjax._src.runtime.bounded_jit import KEPT
from lmjax._src.runtime.explanations import explain
from lmjax._src.runtime.user_warnings import warn
from lmjax._src.typing import NumpyArray, PyTree, TreeFn

#: The integer that SciPy's ``full_output`` gives for what stopped the run.
_IER = {Status.COST: 1, Status.STEP: 2, Status.PRECISION: 3, Status.GRADIENT: 4}
#: That of a limit that was reached, and of an end that was asked for.
_IER_LIMIT = 5


def curve_fit(
    f: TreeFn,
    xdata: PyTree,
    ydata: PyTree,
    p0: PyTree = None,
    sigma: PyTree = None,
    absolute_sigma: bool = False,
    check_finite: bool | None = None,
    bounds: PyTree = (-np.inf, np.inf),
    method: Literal["lm", "trf", "dogbox"] | None = None,
    jac: TreeFn | Literal["2-point", "3-point", "cs"] | None = None,
    *,
    full_output: bool = False,
    nan_policy: Literal["raise", "omit"] | None = None,
    solver: LevenbergMarquardt | None = None,
    weights: PyTree = None,
    fixed: PyTree = None,
    callback: Callback | None = None,
    verbose: int = 0,
    max_seconds: float | None = None,
    **kwargs: Any,
) -> tuple[Any, ...]:
    """Fits ``ydata ≈ f(xdata, *params)``: takes and returns what ``scipy.optimize.curve_fit`` does,
    with exact Jacobians.

    A program is compiled for each curve and length of the data; of curves whose values depend on
    one point each, for four lengths in each power of two, to which others are filled up with
    measurements of weight zero.

    Args:
        f: the curve, written with ``jax.numpy``: (xdata, p₁, …, pₙ) to an array of ydata's shape.
        xdata: what ``f`` takes first: an array, or a dict or other pytree of arrays.
        ydata: the measurements, shape (m,); a number stands for as many as ``f`` has values, 0 for
            an ``f`` that gives residuals.
        p0: the start, shape (n,); when None, ones, or a point between the bounds, their number read
            from f's signature.
        sigma: standard deviations of ydata, a number or of shape (m,), or their covariance matrix,
            (m, m).
        absolute_sigma: whether ``sigma`` has the units of ydata, so that the covariance needs no
            estimate of the noise.
        check_finite: whether NaN or infinity in the data is an error; None for True unless
            ``nan_policy`` is given.
        bounds: (lower, upper), each a number or of shape (n,), or an object with ``lb`` and ``ub``
            as SciPy's ``Bounds``.
        method: accepted for SciPy's sake; the method is Levenberg-Marquardt, with bounds too.
        jac: a function of (xdata, p₁, …, pₙ) to the derivatives of ``f``, (m, n), used in place of
            JAX's. "2-point" and "3-point" take differences, for functions that JAX cannot
            differentiate: steps are ε^(1/2) and ε^(1/3) of each parameter, within the bounds, and
            there is no geodesic acceleration. "cs" is None: both are exact.
        full_output: whether to return (popt, pcov, infodict, mesg, ier), with ``nfev`` and ``fvec``
            in infodict as SciPy has them, and ``solution``, the :class:`Solution` of the fit: its
            ``print`` is a report with the names of ``f``'s parameters and R².
        nan_policy: "omit" leaves out measurements with NaN, "raise" refuses them, None asks
            nothing.
        solver: options of the solver.
        weights: factors of the squared deviations, a number or of shape (m,), in place of sigma:
            inverse variances, and 0 for a measurement that does not count.
        fixed: which parameters stay at their start, booleans of shape (n,).
        callback: as in :func:`lmjax.least_squares`. A fit that it ends, or that ``max_seconds``
            end, returns the best parameters so far, with a warning.
        verbose: as in :func:`lmjax.least_squares`.
        max_seconds: as in :func:`lmjax.least_squares`.
        kwargs: SciPy's ``loss`` (a name or an object such as :class:`lmjax.Huber`) and ``f_scale``,
            ``ftol``, ``xtol``, ``gtol``, and ``maxfev`` or ``max_nfev``, taken as a limit on
            accepted steps.

    Returns:
        (popt, pcov): the parameters (n,) and their covariance (n, n), as float64 NumPy arrays. pcov
        is infinite, with a warning, where the data do not determine the parameters; parameters on a
        bound count as known, so that their rows and columns are zero.

    Raises:
        ValueError: arguments that do not fit together; the message names them.
        RuntimeError: no minimum was found; the message is that of the status.
        TypeError: JAX cannot trace or differentiate ``f``, or the call is being traced itself; the
            message says what to do.

    Warns:
        UserWarning: the data do not determine the parameters.
        ConvergenceWarning: callback or max_seconds have ended the fit before a minimum.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> def decay(x, height, rate):
        ...     return height * jnp.exp(-rate * x)
        >>> x = np.linspace(0, 2, 30)
        >>> y = 2 * np.exp(-3 * x) + 0.01 * np.cos(40 * x)
        >>> popt, pcov = lmjax.curve_fit(decay, x, y, p0=(1, 1))
        >>> popt.round(1).tolist(), np.sqrt(np.diag(pcov)).round(2).tolist()
        ([2.0, 3.0], [0.01, 0.01])
    """
    if method not in (None, "lm", "trf", "dogbox"):
        raise ValueError(
            f"method: expected 'lm', 'trf', 'dogbox' or None, got {method!r}; all are "
            "Levenberg-Marquardt here"
        )
    if not (jac is None or callable(jac) or jac in ("2-point", "3-point", "cs")):
        raise ValueError(
            f"jac: expected a function, '2-point', '3-point', 'cs' or None, got {jac!r}"
        )
    if precision.is_traced((xdata, ydata, p0, sigma, bounds, weights, fixed)):
        raise TypeError(
            "curve_fit: looks at the values of its data, and so works outside of jit, vmap and "
            "grad only; inside of them use lmjax.least_squares(lambda p, x, y: f(x, *p) - y, "
            "p0, (xdata, ydata))"
        )
    lower, upper = _bounds(bounds)
    start = _start(lower, upper, _num_parameters(f)) if p0 is None else _given_start(p0)
    unlimited = np.all(np.isneginf(lower)) and np.all(np.isposinf(upper))
    solver = LevenbergMarquardt() if solver is None else solver
    check_solver(solver)
    solver, loss = _with_options(solver, kwargs)
    slopes: Any = _Slopes(jac) if callable(jac) else None
    if jac in ("2-point", "3-point"):
        slopes = Differences(
            _Deviations(f),
            jac == "3-point",
            *(np.broadcast_to(end, start.shape) for end in (lower, upper)),
        )
        # Of differences, the acceleration would be of few digits.
        solver = dataclasses.replace(solver, geodesic_acceleration=False)
    watch = watch_of(callback, verbose, max_seconds)
    try:
        data = measurements(
            xdata,
            ydata,
            sigma,
            weights,
            check_finite,
            nan_policy,
            lambda x: _num_values(f, x, start),
        )
        given, count = data, data.y.size
        length = _length_to_compile_for(count)
        if (
            length > count
            and not callable(jac)
            and data.is_separate
            and _takes_points(f, data, data.filled(length), start)
        ):
            data = data.filled(length)
        solution = solved(
            _Deviations(f),
            start,
            (data.x, data.y, data.whitening),
            jac=slopes,
            fixed=fixed,
            weights=data.weights,
            loss=loss,
            solver=solver,
            bounds=None if unlimited else (lower, upper),
            watch=watch,
        )
    except Exception as error:
        if watch is None or watch.error is not error:
            explain(error, "f")
        raise
    if watch is not None and solution.status == watch.ended:
        warn(f"curve_fit: {solution.status.message}", ConvergenceWarning)
    elif not solution.status.success:
        raise RuntimeError(f"curve_fit: no minimum was found. {solution.status.message}")
    popt, pcov = (
        np.asarray(solution.params),
        np.asarray(solution.covariance(absolute_sigma=absolute_sigma)),
    )
    if np.isinf(pcov).any():
        warn("curve_fit: the data do not determine the parameters; their covariance is infinite")
    if not full_output:
        return popt, pcov
    information = {
        "nfev": int(solution.num_evaluations),
        "fvec": np.asarray(solution.residuals())[:count],
        "solution": _of_data(solution, given, origin_of(f, given, start, bool(absolute_sigma))),
    }
    return popt, pcov, information, solution.status.message, _IER.get(solution.status, _IER_LIMIT)


def _of_data(solution: Solution, given: Measurements, origin: Origin) -> Solution:
    """The solution for the ``given`` measurements alone, without those of weight zero that were
    filled in.
    """
    objective = solution._objective
    weights = objective.root_weights
    if weights is not None and given.weights is None:
        weights = None  # all of those that were given count as one
    elif weights is not None:
        weights = weights[: given.y.size]
    return dataclasses.replace(
        solution,
        _objective=dataclasses.replace(
            objective, args=(given.x, given.y, given.whitening), root_weights=weights
        ),
        _origin=origin,
    )


@dataclasses.dataclass(frozen=True)
class _Deviations:
    """The residual function of a curve; equal for equal curves, so that a second fit compiles
    nothing.
    """

    curve: TreeFn

    def __call__(
        self, params: jax.Array, x: PyTree, y: jax.Array, whitening: jax.Array | None
    ) -> jax.Array:
        values = jnp.asarray(self.curve(x, *params))
        if values.shape not in ((), y.shape) and values.size != y.size:
            raise ValueError(
                f"f: returned shape {values.shape} for {y.size} measurements; expected "
                "one value for each"
            )
        deviations = (
            jnp.broadcast_to(values, y.shape) - y
            if values.ndim == 0
            else values.reshape(y.shape) - y
        )
        return _whitened(deviations, whitening)


@dataclasses.dataclass(frozen=True)
class _Slopes:
    """The Jacobian of :class:`_Deviations` from the caller's."""

    jac: TreeFn

    def __call__(
        self, params: jax.Array, x: PyTree, y: jax.Array, whitening: jax.Array | None
    ) -> jax.Array:
        slopes = jnp.asarray(self.jac(x, *params))
        if slopes.shape != (y.size, params.size):
            raise ValueError(
                f"jac: returned shape {slopes.shape}; expected {(y.size, params.size)}, "
                "(measurements, parameters)"
            )
        return _whitened(slopes, whitening).reshape(*y.shape, params.size)


def _whitened(columns: jax.Array, whitening: jax.Array | None) -> jax.Array:
    """``columns`` (m,) or (m, n) over the standard deviations, or the Cholesky factor of the
    covariance.
    """
    if whitening is None:
        return columns
    if whitening.ndim == 1:
        return columns / (whitening if columns.ndim == 1 else whitening[:, None])
    return jax.scipy.linalg.solve_triangular(whitening, columns, lower=True)


def _bounds(bounds: PyTree) -> tuple[NumpyArray, NumpyArray]:
    try:
        lower, upper = (bounds.lb, bounds.ub) if hasattr(bounds, "lb") else bounds
        return np.asarray(lower, float), np.asarray(upper, float)
    except (TypeError, ValueError):
        raise ValueError(
            "bounds: expected (lower, upper), each a number or one for each parameter"
        ) from None


def _given_start(p0: PyTree) -> NumpyArray:
    try:
        start = np.atleast_1d(np.asarray(p0, float))
    except (TypeError, ValueError) as error:
        raise ValueError(f"p0: expected one number for each parameter; {error}") from None
    if start.ndim > 1:
        raise ValueError(
            f"p0: expected one number for each parameter, shape (n,), got shape {start.shape}"
        )
    return start


def _start(lower: NumpyArray, upper: NumpyArray, count: int) -> NumpyArray:
    """Ones, or where there are bounds their middle, or a point at distance one from the only
    one.
    """
    try:
        low, high = np.broadcast_to(lower, (count,)), np.broadcast_to(upper, (count,))
    except ValueError:
        raise ValueError(
            f"bounds: expected numbers or {count} values each, got shapes {lower.shape} "
            f"and {upper.shape}"
        ) from None
    has_low, has_high = np.isfinite(low), np.isfinite(high)
    inside = np.where(has_low, low, 0) + np.where(has_high, high, 0)
    return np.where(
        has_low & has_high,
        inside / 2,
        np.where(has_low, inside + 1, np.where(has_high, inside - 1, 1.0)),
    )


def _length_to_compile_for(count: int) -> int:
    """The least length of so many measurements for which a program is compiled: four of them in
    each power of two, from 8 on.
    """
    unit = 2 ** max(count.bit_length() - 3, 0)
    return -(-count // unit) * unit


def _takes_points(f: TreeFn, data: Measurements, filled: Measurements, start: NumpyArray) -> bool:
    """Whether the values of ``f`` for the ``filled`` data begin with those for ``data``."""
    xs = [
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), each.x)
        for each in (data, filled)
    ]
    leaves, treedefs = zip(*map(jax.tree.flatten, xs), strict=True)
    try:
        return _is_pointwise(f, treedefs[0], *map(tuple, leaves), start.size)
    except TypeError:  # f has no hash, which the fit tells of
        return False


@functools.lru_cache(maxsize=KEPT)
def _is_pointwise(f: TreeFn, treedef: PyTreeDef, leaves: Any, more: Any, size: int) -> bool:
    xs = jax.tree.unflatten(treedef, leaves), jax.tree.unflatten(treedef, more)
    with precision.scope(np.float64):
        return is_pointwise(
            lambda x, p: jnp.asarray(f(x, *p)), xs, jax.ShapeDtypeStruct((size,), np.float64)
        )


def _num_values(f: TreeFn, x: PyTree, start: NumpyArray) -> int:
    with precision.scope(np.float64):
        return int(jax.eval_shape(lambda x, p: jnp.asarray(f(x, *p)), x, start).size)


def _loss(loss: str | RobustLoss, scale: float | None) -> str | RobustLoss:
    if scale is not None and not isinstance(loss, str):
        raise ValueError(f"f_scale: {loss!r} has its own scale; give one of them")
    return (
        loss
        if scale is None or not isinstance(loss, str) or loss not in ROBUST_LOSSES
        else ROBUST_LOSSES[loss](scale)
    )


def _with_options(
    solver: LevenbergMarquardt, kwargs: dict[str, Any]
) -> tuple[LevenbergMarquardt, str | RobustLoss]:
    """The solver and the loss that SciPy's keywords ask for."""
    loss = _loss(kwargs.pop("loss", "linear"), kwargs.pop("f_scale", None))
    known = {
        "ftol": "ftol",
        "xtol": "xtol",
        "gtol": "gtol",
        "maxfev": "max_steps",
        "max_nfev": "max_steps",
    }
    unknown = sorted(set(kwargs) - set(known))
    if unknown:
        raise TypeError(
            f"{unknown[0]}: curve_fit knows no such option; of SciPy's it takes loss, "
            f"f_scale, {', '.join(known)}; others go into solver="
        )
    given = {known[name]: value for name, value in kwargs.items() if value is not None}
    return (dataclasses.replace(solver, **given) if given else solver), loss


def _num_parameters(f: TreeFn) -> int:
    parameters = list(inspect.signature(f).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or len(parameters) < 2:
        raise ValueError(
            "p0: the number of parameters cannot be read from f's signature; pass a start"
        )
    return len(parameters) - 1
