"""Nonlinear least squares: ``lmjax.least_squares``."""

from __future__ import annotations

from lmjax._src.least_squares.run import finish, run
from lmjax._src.least_squares.solution import Solution, solution_of
from lmjax._src.least_squares.watching.watch import Callback, Watch, refusal, watch_of
from lmjax._src.levenberg_marquardt.effects import check_effect
from lmjax._src.levenberg_marquardt.problem import Problem
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.status import warn_of_failure
from lmjax._src.objectives.residual_functions import ResidualFn
from lmjax._src.objectives.robust import RobustLoss
from lmjax._src.runtime import precision
from lmjax._src.runtime.explanations import explain
from lmjax._src.runtime.meshes import explicit_mesh
from lmjax._src.typing import Params, PyTree, TreeFn

_DEFAULT = LevenbergMarquardt()


def least_squares(
    residual_fn: ResidualFn,
    params: Params,
    args: tuple[PyTree, ...] = (),
    *,
    solver: LevenbergMarquardt | None = None,
    bounds: tuple[PyTree, PyTree] | None = None,
    jac: TreeFn | None = None,
    fixed: PyTree = None,
    weights: PyTree = None,
    sigma: PyTree = None,
    loss: str | RobustLoss = "linear",
    callback: Callback | None = None,
    verbose: int = 0,
    max_seconds: float | None = None,
) -> Solution:
    """Minimises ½‖residual_fn(params, *args)‖² by Levenberg-Marquardt.

    Works on its own and inside ``jit``, ``vmap`` and other transformations. Under ``vmap`` each
    problem of the batch stops by itself and those that go on are packed together. ``jax.grad`` and
    the like give the derivatives of ``params`` and ``cost`` in ``args``, in the bounds, and in what
    ``residual_fn`` captured, by the implicit function theorem with the full Hessian; they hold at a
    solution, and the start has no influence. On its own it compiles once for each residual function
    and set of shapes: pass changing data through ``args`` and keep the function. Ctrl-C ends the
    run with the best parameters so far and says so in the status.

    Args:
        residual_fn: maps (params, *args) to residuals: an array or a pytree of arrays, real, of any
            shape. Or a list or tuple of functions, whose residuals are taken together; each is
            called as f(*params, *args), the params being a list or tuple of arrays, or f(params,
            *args) if they are not.
        params: where to start: a number, an array, or any pytree of them. Their dtype is the
            precision of the whole run: float64 (also Python and NumPy numbers) needs no switch in
            JAX. Integers are taken as float64.
        args: further arguments, a tuple of arrays or pytrees. Floating-point arrays are cast to the
            params' dtype.
        solver: the options; :class:`lmjax.LevenbergMarquardt` with its defaults when None.
        bounds: (lower, upper), each a number or a pytree like ``params``, infinite or None where
            there is none. A start outside is moved to the nearest bound, with a warning.
        jac: a function of (params, *args) that gives what ``jax.jacfwd(residual_fn)`` would, used
            in its place everywhere: for every array of the residuals a tree like ``params`` of
            arrays (*residuals.shape, *param.shape). None for JAX's derivatives, in the mode that
            ``solver.jacobian`` names. Geodesic acceleration differentiates ``jac``.
        fixed: which parameters stay as they are: a boolean or a pytree of booleans (or boolean
            arrays) like ``params``, or a prefix of it. The statistics treat them as known.
        weights: factors of the squared residuals, such as inverse variances: a number, or a pytree
            like the residuals (or a prefix of theirs) of arrays that broadcast to them. Residuals
            of weight 0 may be NaN, and do not count.
        sigma: standard deviations of the residuals instead of weights, which are then 1/sigma².
        loss: "linear" for squares; "huber", "soft_l1", "cauchy", "tukey" for a robust loss of scale
            1, or an object with its scale, as :class:`lmjax.Huber` (1.5). It is applied to the
            weighted residuals, as in SciPy.
        callback: a function that is called after every accepted step with what there is so far, an
            object with SciPy's names: ``params``, ``x`` (the same as one vector), ``cost``,
            ``nit``, ``nfev``, ``reduction``, ``step_norm``, ``seconds``, ``optimality``. A true
            result, or StopIteration, ends the run: ``Status.STOPPED``. It is called from outside of
            compiled code, which costs some 0.3 ms a step.
        verbose: 1 prints how the run has ended, 2 a line for every step, too, with SciPy's columns.
        max_seconds: of wall-clock time, compilation included, after which the run ends at the next
            step, with the best parameters so far: ``Status.TIME``.

    Returns:
        A :class:`Solution`: params, cost, status, counts, and the statistics of the fit. Float64
        results are NumPy arrays unless JAX's 64-bit mode is on.

    Warns:
        ConvergenceWarning: no minimum was found; once, where the call is not traced and was not
            interrupted.
        UserWarning: the residuals are one number for several parameters, or a table of which
            broadcasting is the likely reason; or a start lies outside its bounds.

    Raises:
        TypeError: params are complex, narrower than float32 or no numbers, or an argument is no
            function, or one that JAX cannot trace or differentiate; the message names the line. Or
            callback, verbose or max_seconds are given inside of ``jit``, ``vmap`` or ``grad``.
        ValueError: there are no parameters or residuals, or bounds, fixed, weights, sigma or loss
            do not fit; or a function calls back into Python in float64 without JAX's 64-bit mode,
            which would round what passes.

    References: K. Levenberg (1944); D. W. Marquardt (1963); J. J. Moré (1978); H. B. Nielsen
        (1999); M. K. Transtrum and J. P. Sethna, arXiv:1201.5885. Which part comes from whom is
        said at each option of the solver.

    Example:
        An exponential decay with known noise.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> def residuals(p, x, y):
        ...     return p["height"] * jnp.exp(-p["rate"] * x) - y
        >>> x = np.linspace(0, 2, 30)
        >>> y = 2 * np.exp(-3 * x)
        >>> start = {"height": 1.0, "rate": 1.0}
        >>> solution = lmjax.least_squares(residuals, start, (x, y), sigma=0.1)
        >>> round(float(solution.params["height"]), 6), round(float(solution.params["rate"]), 6)
        (2.0, 3.0)
        >>> errors = solution.standard_errors(absolute_sigma=True)
        >>> round(float(errors["height"]), 2)
        0.08
    """
    watch = watch_of(callback, verbose, max_seconds)
    try:
        solution = solved(
            residual_fn, params, args, solver, bounds, jac, fixed, weights, sigma, loss, watch
        )
    except Exception as error:
        if watch is None or watch.error is not error:
            explain(error, "residual_fn")
        raise
    if isinstance(solution.status_code, int):
        warn_of_failure("least_squares", solution.status)
    return solution


def solved(
    residual_fn: ResidualFn,
    params: Params,
    args: tuple[PyTree, ...] = (),
    solver: LevenbergMarquardt | None = None,
    bounds: tuple[PyTree, PyTree] | None = None,
    jac: TreeFn | None = None,
    fixed: PyTree = None,
    weights: PyTree = None,
    sigma: PyTree = None,
    loss: str | RobustLoss = "linear",
    watch: Watch | None = None,
) -> Solution:
    """:func:`least_squares`, with the same arguments in the same order, that leaves it to the
    caller to look at the status, and to say who watches.
    """
    if solver is None:
        solver = _DEFAULT
    else:
        check_effect(solver, "least_squares")
    problem = Problem.of(
        residual_fn,
        params,
        args,
        jac=jac,
        fixed=fixed,
        weights=weights,
        sigma=sigma,
        loss=loss,
        bounds=bounds,
    )
    if problem.is_traced_with(params):
        if watch is not None:
            raise refusal()
        with precision.usual():
            objective, limits, start = problem.in_trace(params, solver.jacobians)
            outcome = run(solver, objective, limits, start, traced=True)
        return solution_of(objective, limits, outcome, start=start)
    with precision.scope(problem.dtype):
        objective, limits, start = problem.of_values(params, solver.jacobians)
        outcome = finish(solver, objective, limits, start, watch=watch)
    mesh = explicit_mesh((params, args, residual_fn))
    return solution_of(objective, limits, outcome, mesh, start)
