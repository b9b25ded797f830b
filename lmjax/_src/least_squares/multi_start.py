"""Many starts at once, for problems with several minima: ``lmjax.multi_start``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import arguments
from lmjax._src.arrays.numbers import check_captured
from lmjax._src.arrays.structure import Structure, unflatten_returned
from lmjax._src.least_squares.least_squares import least_squares, run_to_end
from lmjax._src.least_squares.solution import Solution
from lmjax._src.levenberg_marquardt.bounds import bounds_for
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.status import Status, warn_of_failure
from lmjax._src.objectives.residual_functions import as_residual_fn
from lmjax._src.runtime import precision
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.explanations import explain
from lmjax._src.runtime.meshes import automatic


@dataclasses.dataclass(frozen=True)
class RankedSolutions(Sequence[Solution]):
    """Solutions from many starts, the lowest cost first; those whose cost is not finite come last.

    A sequence of :class:`Solution`, each with its statistics. Also as arrays:

    Attributes:
        costs: shape (k,).
        counts: how many of the starts led to each, shape (k,).
        status_codes: codes of :class:`lmjax.Status`, shape (k,).
    """

    costs: np.ndarray[Any, Any]
    counts: np.ndarray[Any, Any]
    status_codes: np.ndarray[Any, Any]
    _batch: Solution = dataclasses.field(
        repr=False
    )  #: k solutions along the leaves' first axis, without objective and bounds
    _shared: tuple[Any, Any] = dataclasses.field(repr=False)  #: these two

    @property
    def best(self) -> Solution:
        """The one with the lowest cost."""
        return self[0]

    def __len__(self) -> int:
        """k."""
        return len(self.costs)

    def __getitem__(self, index: Any) -> Any:
        """The solution of that rank, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        objective, bounds = self._shared
        one = jax.tree.map(lambda leaf: leaf[index], self._batch)
        with precision.scope(one._flat.dtype):
            flat = jnp.asarray(one._flat)
        params = unflatten_returned(objective.structure, flat, None)
        return dataclasses.replace(
            one, params=params, _flat=flat, _objective=objective, _bounds=bounds
        )

    def __iter__(self) -> Iterator[Solution]:
        """From the best to the worst."""
        return (self[k] for k in range(len(self)))


def multi_start(
    key: Any,
    residual_fn: Callable[..., Any] | Sequence[Callable[..., Any]],
    starts: Callable[[Any], Any] | tuple[Any, Any],
    args: tuple[Any, ...] = (),
    *,
    num_starts: int = 64,
    solver: LevenbergMarquardt | None = None,
    bounds: tuple[Any, Any] | None = None,
    merge: float | None = 1e-4,
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

    Returns:
        :class:`RankedSolutions`. The work inside is compiled once for each function and set of
        shapes.

    Warns:
        ConvergenceWarning: the best of them is no minimum.

    Raises:
        TypeError, ValueError: as :func:`lmjax.least_squares`, and for starts that are neither
            function nor box.
    """
    if not (isinstance(num_starts, int) and num_starts >= 1):
        raise ValueError(f"num_starts: expected a whole number of at least 1, got {num_starts!r}")
    if not isinstance(args, tuple):
        raise TypeError(
            f"args: expected a tuple of further arguments, got {type(args).__name__}; for "
            "one argument write args=(data,)"
        )
    if precision.is_traced((key, args, starts, bounds)):
        raise TypeError(
            "multi_start: cannot be traced, since it sorts and merges; under jit use "
            "jax.vmap(least_squares) over starts"
        )
    with precision.usual():
        keys = jax.random.split(
            jax.random.key(key) if isinstance(key, (int, np.integer)) else key, num_starts
        )
        function = as_residual_fn(residual_fn)
        with precision.scope(np.float64):
            points = _sample(automatic(starts), automatic(keys))
            example = jax.tree.map(lambda leaf: leaf[0], points)
        dtype = arguments.floating_dtype(points)
        structure, box = Structure.of(example), None
        limits = None if bounds is None else bounds_for(example, bounds, dtype)
        with precision.scope(dtype):
            points = arguments.as_dtype(points, dtype, "starts")
            check_captured(function, "residual_fn")
            if limits is not None:
                box = tuple(structure.unflatten(limit) for limit in limits)
                points = jax.tree.map(jnp.clip, points, *box)
            try:
                batch, *shared = _solve_all(
                    solver or LevenbergMarquardt(),
                    function,
                    points,
                    arguments.as_dtype(args, dtype),
                    box,
                )
            except Exception as error:
                explain(error, "residual_fn")
                raise
            starts_flat = np.asarray(structure.flatten_batch(points, 1))
            ranked = _ranked(
                jax.tree.map(np.asarray, batch), (shared[0], shared[1]), starts_flat, merge
            )
            ranked = _settled(solver or LevenbergMarquardt(), ranked)
    warn_of_failure("multi_start", ranked.best.status)
    return ranked


@recent(static_argnums=(0,))
def _solve_all(
    solver: LevenbergMarquardt, function: Any, points: Any, args: Any, bounds: Any
) -> tuple[Solution, Any, Any]:
    """The solutions without their objective and bounds, which all have in common and which are not
    copied for each.
    """

    def solve(start: Any) -> tuple[Solution, Any, Any]:
        solution = least_squares(function, start, args, solver=solver, bounds=bounds)
        shared: dict[str, Any] = {"_objective": None, "_bounds": None}
        return dataclasses.replace(solution, **shared), solution._objective, solution._bounds

    return jax.vmap(solve, out_axes=(0, None, None))(points)


def _sample(starts: Any, keys: jax.Array) -> Any:
    """Params with the starts along a new first axis."""
    if callable(starts):
        return _map_keys(arguments.as_pytree_callable(starts, "starts"), keys)
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
    return _fill(keys, low, high)


@recent()
def _map_keys(function: Callable[..., Any], keys: jax.Array) -> Any:
    return jax.vmap(function)(keys)


@jax.jit
def _fill(keys: jax.Array, lower: Any, upper: Any) -> Any:
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


def _ranked(
    batch: Solution, shared: tuple[Any, Any], starts: np.ndarray[Any, Any], merge: float | None
) -> RankedSolutions:
    order = np.argsort(np.where(np.isfinite(batch.cost), batch.cost, np.inf), kind="stable")
    flat, spread = batch._flat[order], np.ptp(starts, axis=0)
    chosen: list[int] = []
    counts: list[int] = []
    for k, params in enumerate(flat):
        size = np.maximum(np.maximum(np.abs(flat[chosen]), np.abs(params)), spread)
        close = (
            np.zeros(0, bool)
            if merge is None
            else np.all(np.abs(flat[chosen] - params) <= merge * size, axis=1)
        )
        if close.any():
            counts[int(np.argmax(close))] += 1
        else:
            chosen.append(k)
            counts.append(1)
    kept = order[chosen]
    batch = jax.tree.map(lambda leaf: leaf[kept], batch)
    return RankedSolutions(
        batch.cost, np.asarray(counts), np.asarray(batch.status_code), batch, shared
    )


def _settled(solver: LevenbergMarquardt, ranked: RankedSolutions) -> RankedSolutions:
    """Where a run got no further in the batch, it goes on by itself, as one of
    :func:`lmjax.least_squares` does.
    """
    batch = jax.tree.map(np.array, ranked._batch)
    stuck = np.isin(batch.status_code, (Status.DAMPING_EXHAUSTED, Status.ILL_CONDITIONED))
    for k in np.flatnonzero(stuck):
        flat, state, status, _ = run_to_end(solver, *ranked._shared, batch._flat[k])
        if state.cost <= batch.cost[k] * (1 + np.finfo(batch.cost.dtype).eps ** 0.5):
            batch._flat[k], batch.cost[k], batch.status_code[k] = flat, state.cost, status
        batch.num_steps[k] += state.num_steps
        batch.num_evaluations[k] += state.num_evaluations
    return dataclasses.replace(
        ranked, costs=batch.cost, status_codes=batch.status_code, _batch=batch
    )
