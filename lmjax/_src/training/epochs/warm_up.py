"""Adam before the first step of Levenberg-Marquardt."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.levenberg_marquardt.active_set import Orthants
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.runtime import interrupts
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.optional import needed
from lmjax._src.runtime.slices import slices
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.typing import Scalar

#: Of Adam, at its first step; it falls to zero along half a cosine.
RATE = 1e-2
#: Losses that one call of the compiled loop can record; a longer slice would only delay Ctrl-C.
_RECORD = 256


class WarmedUp(NamedTuple):
    """What became of it."""

    params: jax.Array  #: (P,), of the least cost that was passed, the start among them
    costs: list[float]  #: at the start and after each step


class _Run(NamedTuple):
    params: jax.Array
    adam: Any
    best: jax.Array
    least: jax.Array
    costs: jax.Array
    done: jax.Array  #: points in this slice


def warmed_up(
    objective: Any, params: jax.Array, steps: int, bounds: FeasibleSet | Orthants | None
) -> WarmedUp:
    """So many steps of Adam on all rows, whose ends are projected into the ``bounds``.

    Source: D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Raises:
        NotInstalledError: Optax is missing.
    """
    infinite = jnp.full((), jnp.inf, params.dtype)
    empty = jnp.zeros((_RECORD,), params.dtype)
    run = _Run(params, _adam().init(params), params, infinite, empty, jnp.zeros((), jnp.int32))
    costs: list[float] = []
    if isinstance(objective, StreamedObjective):
        for number in range(steps + 1):
            interrupts.check()
            run = _advance(objective, bounds, steps, run, number)
            costs.append(float(run.costs[0]))
            run = run._replace(done=jnp.zeros((), jnp.int32))
        return WarmedUp(run.best, costs)

    def advance(run: _Run, count: int) -> _Run:
        first = np.asarray(len(costs), np.int32)
        last = np.asarray(min(len(costs) + count, steps + 1), np.int32)
        run = run._replace(done=jnp.zeros((), jnp.int32))
        whole = np.asarray(steps, np.int32)
        return jax.block_until_ready(_compiled(objective, bounds, whole, run, first, last))

    for so_far, _, _ in slices(advance, run, 1, _RECORD):
        costs += np.asarray(so_far.costs, float)[: int(so_far.done)].tolist()
        if len(costs) > steps:
            return WarmedUp(so_far.best, costs)
    raise AssertionError("slices have no end")


def _adam() -> Any:
    return needed("optax", "optax", "warm_up").scale_by_adam()


def _advance(
    objective: Any, bounds: FeasibleSet | Orthants | None, steps: Scalar, run: _Run, number: Scalar
) -> _Run:
    """Looks at the point after ``number`` of all ``steps``, and takes the next one; the last has no
    length.
    """
    values, gradient = objective.values_and_gradient(run.params)
    cost = objective.cost(values)
    better = cost < run.least
    direction, adam = _adam().update(gradient, run.adam)
    rate = RATE * (1 + jnp.cos(jnp.pi * number / steps)) / 2
    params = run.params - (rate * direction).astype(run.params.dtype)
    return _Run(
        params if bounds is None else bounds.project(params),
        adam,
        jnp.where(better, run.params, run.best),
        jnp.where(better, cost, run.least),
        run.costs.at[run.done].set(cost),
        run.done + 1,
    )


def _points(
    objective: Any,
    bounds: FeasibleSet | Orthants | None,
    steps: Scalar,
    run: _Run,
    first: Scalar,
    last: Scalar,
) -> _Run:
    """The points from ``first`` to before ``last``."""
    look = partial(_advance, objective, bounds, steps)
    done: _Run = jax.lax.fori_loop(first, last, lambda number, run: look(run, number), run)
    return done


_compiled = recent()(_points)
