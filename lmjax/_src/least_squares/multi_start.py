"""Many starts at once, for problems with several minima: ``lmjax.multi_start``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import arguments
from lmjax._src.arrays.structure import Structure
from lmjax._src.least_squares.finish import is_doubtful
from lmjax._src.least_squares.ranked_solutions import RankedSolutions, distinct
from lmjax._src.least_squares.run import finish, run
from lmjax._src.least_squares.second_runs import FAILURES, Outcome
from lmjax._src.least_squares.solution import Solution, solution_of
from lmjax._src.levenberg_marquardt.bounds import Bounds, held
from lmjax._src.levenberg_marquardt.effects import check_effect
from lmjax._src.levenberg_marquardt.problem import Problem
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.state import initial_state
from lmjax._src.levenberg_marquardt.status import warn_of_failure
from lmjax._src.linear_solvers.auto import Chosen
from lmjax._src.objectives.residual_functions import ResidualFn
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.objectives.robust import RobustLoss
from lmjax._src.runtime import precision
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.explanations import explain
from lmjax._src.runtime.meshes import automatic
from lmjax._src.typing import Key, NumpyArray, Params, PyTree, TreeFn


def multi_start(
    key: Key | int,
    residual_fn: ResidualFn,
    starts: Callable[[Key], Params] | tuple[PyTree, PyTree],
    args: tuple[PyTree, ...] = (),
    *,
    num_starts: int = 64,
    solver: LevenbergMarquardt | None = None,
    bounds: tuple[PyTree, PyTree] | None = None,
    merge: float | None = 1e-4,
    jac: TreeFn | None = None,
    fixed: PyTree = None,
    weights: PyTree = None,
    sigma: PyTree = None,
    loss: str | RobustLoss = "linear",
) -> RankedSolutions:
    """Runs :func:`lmjax.least_squares` from many starts in one batch and returns what they found,
    ranked.

    Args:
        key: a JAX random key, or an integer that seeds one.
        residual_fn: as in :func:`lmjax.least_squares`.
        starts: a function from a key to params, as float64 unless it asks for another dtype; or a
            box (lower, upper) of two pytrees like params with finite leaves, filled evenly (Latin
            hypercube sampling: M. D. McKay, R. J. Beckman, W. J. Conover, Technometrics 21, 1979).
        args: as in :func:`lmjax.least_squares`.
        num_starts: how many.
        solver: as in :func:`lmjax.least_squares`.
        bounds: as in :func:`lmjax.least_squares`; a box of starts by itself is no bound.
        merge: solutions that differ by at most this fraction of their size, or of the spread of the
            starts, in every parameter count as one, the better of them; None keeps all.
        jac: as in :func:`lmjax.least_squares`.
        fixed: as in :func:`lmjax.least_squares`: each run leaves these parameters at its own start,
            so that those of one value are the same in all ``starts``.
        weights: as in :func:`lmjax.least_squares`.
        sigma: as in :func:`lmjax.least_squares`.
        loss: as in :func:`lmjax.least_squares`.

    Returns:
        :class:`RankedSolutions`. The work inside is compiled once for each function and set of
        shapes.

    Warns:
        ConvergenceWarning: the best of them is no minimum.

    Raises:
        TypeError, ValueError: as :func:`lmjax.least_squares`, and for starts that are neither
            function nor box.

    Example:
        The frequency of a wave, whose cost has many minima.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> x = np.linspace(0, 3, 40)
        >>> wave = lambda p, x, y: jnp.sin(p * x) - y
        >>> found = lmjax.multi_start(0, wave, (0.0, 10.0), (x, np.sin(7 * x)), num_starts=20)
        >>> round(float(found.best.params), 6)
        7.0
    """
    if not (isinstance(num_starts, int) and num_starts >= 1):
        raise ValueError(f"num_starts: expected a whole number of at least 1, got {num_starts!r}")
    options: dict[str, Any] = {
        "jac": jac,
        "fixed": fixed,
        "weights": weights,
        "sigma": sigma,
        "loss": loss,
    }
    if precision.is_traced((key, args, starts, bounds, options)):
        raise TypeError(
            "multi_start: cannot be traced, since it sorts and merges; under jit use "
            "jax.vmap(least_squares) over starts"
        )
    solver = LevenbergMarquardt() if solver is None else solver
    check_effect(solver, "multi_start")
    with precision.usual():
        keys = jax.random.split(
            jax.random.key(key) if isinstance(key, (int, np.integer)) else key, num_starts
        )
        with precision.scope(np.float64):
            points = _sampled(automatic(starts), automatic(keys))
            example = jax.tree.map(lambda leaf: leaf[0], points)
        problem = Problem.of(residual_fn, example, args, bounds=bounds, **options)
        with precision.scope(problem.dtype):
            points = arguments.as_dtype(points, problem.dtype, "starts")
            flat = problem.structure.flatten_batch(points, 1)
            try:
                objective = problem.objective(solver.jacobians)
                found, doubtful = _run_all(solver, objective, problem.limits, problem.fixed, flat)
            except Exception as error:
                explain(error, "residual_fn")
                raise
            found, doubtful, flat = jax.tree.map(np.asarray, (found, doubtful, flat))
            ranked = _ranked(objective, found, doubtful, flat, solver, merge)
    warn_of_failure("multi_start", ranked.best.status)
    return ranked


def _sampled(starts: Callable[[Key], Params] | tuple[PyTree, PyTree], keys: jax.Array) -> Params:
    """Params with the starts along a new first axis."""
    if callable(starts):
        return _mapped(arguments.as_pytree_callable(starts, "starts"), keys)
    try:
        lower, upper = starts
        dtype = arguments.floating_dtype((lower, upper))
        low, high = (
            arguments.as_dtype(lower, dtype, "lower"),
            arguments.as_dtype(upper, dtype, "upper"),
        )
        same = jax.tree.map(
            lambda a, b: (
                np.shape(a) == np.shape(b) and bool(np.all(a <= b) and np.all(np.isfinite(b - a)))
            ),
            low,
            high,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            "starts: expected a function from a key to params, or (lower, upper) like "
            f"params; {error}"
        ) from error
    if not all(jax.tree.leaves(same)):
        raise ValueError(
            "starts: the box must have finite leaves of equal shapes, the lower ones not "
            "above the upper ones"
        )
    return _filled(keys, low, high)


@recent()
def _mapped(function: TreeFn, keys: Key) -> Params:
    return jax.vmap(function)(keys)


@jax.jit
def _filled(keys: jax.Array, lower: PyTree, upper: PyTree) -> Params:
    """A Latin hypercube: in every coordinate, one point in each of as many slices as there are
    points.
    """
    structure = Structure.of(lower)
    low, high = structure.flatten(lower), structure.flatten(upper)
    permutation_key, within_key = jax.random.split(keys[0])
    slices = jnp.broadcast_to(jnp.arange(keys.size)[:, None], (keys.size, low.size))
    slices = jax.random.permutation(permutation_key, slices, axis=0, independent=True)
    fraction = (slices + jax.random.uniform(within_key, slices.shape, low.dtype)) / keys.size
    return jax.vmap(structure.unflatten)(low + (high - low) * fraction)


@recent(static_argnums=(0,))
def _run_all(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    limits: Bounds | None,
    fixed: PyTree,
    starts: jax.Array,
) -> tuple[Solution, jax.Array]:
    """The solutions from ``starts`` (k, P) without their objective, which is not copied for each;
    and of which of them second derivatives are to tell what they are.
    """

    def solve(start: jax.Array) -> tuple[Solution, jax.Array]:
        bounds = limits if fixed is None else held(limits, fixed, start)
        start = start if bounds is None else bounds.project(start)
        outcome = run(solver, objective, bounds, start, traced=True)
        shared: dict[str, Any] = {"_objective": None}
        found = solution_of(objective, bounds, outcome, start=start)
        solution = dataclasses.replace(found, **shared)
        state = outcome.state
        return solution, is_doubtful(outcome.status, state.cost, state.singular, state.unmoved)

    return jax.vmap(solve)(starts)


def _ranked(
    objective: ResidualObjective,
    found: Solution,
    doubtful: NumpyArray,
    starts: NumpyArray,
    solver: LevenbergMarquardt,
    merge: float | None,
) -> RankedSolutions:
    """The distinct ones of ``found``, brought to their ends, the lowest cost first."""
    spread = np.ptp(starts, axis=0)
    kept, counts = distinct(found, np.ones(len(starts), int), spread, merge)
    ends = jax.tree.map(lambda leaf: leaf[kept], found)
    ends = _finished(solver, objective, ends, doubtful[kept], starts[kept])
    # What was a saddle may have become the neighbour's minimum.
    kept, counts = distinct(ends, counts, spread, merge)
    ends = jax.tree.map(lambda leaf: leaf[kept], ends)
    return RankedSolutions(ends.cost, counts, ends.status_code, ends, objective)


def _finished(
    solver: LevenbergMarquardt,
    objective: ResidualObjective,
    batch: Solution,
    doubtful: NumpyArray,
    starts: NumpyArray,
) -> Solution:
    """Where a run got no further in the batch, it goes on by itself, as one of
    :func:`lmjax.least_squares` does; the best one, if it has failed, with a second run.
    """
    batch = jax.tree.map(np.array, batch)
    failed = np.isin(batch.status_code, FAILURES)
    failed[1:] = False
    for k in np.flatnonzero(doubtful | failed):
        flat, bounds = batch._flat[k], jax.tree.map(lambda leaf, k=k: leaf[k], batch._bounds)
        state = initial_state(flat)._replace(
            cost=batch.cost[k],
            num_steps=batch.num_steps[k],
            num_evaluations=batch.num_evaluations[k],
        )
        chosen = Chosen(batch.linear_solver, batch.geodesic_acceleration)
        begun = Outcome(flat, state, int(batch.status_code[k]), chosen)
        start = starts[k] if bounds is None else np.clip(starts[k], *bounds)
        end = finish(solver, objective, bounds, start, begun, second_run=bool(failed[k]))
        if end.state.cost <= batch.cost[k] * (1 + np.finfo(batch.cost.dtype).eps ** 0.5):
            batch._flat[k], batch.cost[k], batch.status_code[k] = (
                end.params,
                end.state.cost,
                end.status,
            )
        batch.num_steps[k] = end.state.num_steps
        batch.num_evaluations[k] = end.state.num_evaluations
    return batch
