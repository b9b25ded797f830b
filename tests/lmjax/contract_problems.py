"""The problems on which every implementation of every protocol is run: each a function of the
options of a solver that gives all numbers of a run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lmjax
from lmjax._src.levenberg_marquardt.effects import COUNTED

Run = Callable[[lmjax.LevenbergMarquardt], list[np.ndarray]]

TIMES = np.linspace(0, 3, 15)
VALUES = 2.5 * np.exp(-1.3 * TIMES) + 0.02 * np.cos(9 * TIMES)
INPUTS = np.linspace(-1, 1, 24)[:, None]
TARGETS = np.sin(3 * INPUTS)


def decay(params: Any, times: Any, values: Any) -> jax.Array:
    return params["height"] * jnp.exp(-params["rate"] * times) - values


def sum_of_two(params: Any) -> jax.Array:
    total = params[0] + params[1]
    return jnp.stack([total**2 - 3.0, jnp.exp(params[2]) - total, params[2] * total - 0.5])


def rosenbrock(params: Any) -> jax.Array:
    return jnp.stack([10 * (params[1] - params[0] ** 2), 1 - params[0]])


def network(params: Any, x: Any) -> jax.Array:
    return jnp.tanh(x @ params["inner"] + params["bias"]) @ params["outer"]


def network_start() -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    shapes = {"inner": (1, 4), "bias": (4,), "outer": (4, 1)}
    return {name: random.normal(size=shape) for name, shape in shapes.items()}


def numbers_of(solution: lmjax.Solution) -> list[np.ndarray]:
    return [
        *map(np.asarray, jax.tree.leaves(solution.params)),
        np.asarray(solution.cost),
        np.asarray([solution.num_steps, solution.num_evaluations, int(solution.status_code)]),
    ]


def numbers_of_fit(result: lmjax.FitResult) -> list[np.ndarray]:
    return [*map(np.asarray, jax.tree.leaves(result.params)), np.asarray(result.history["loss"])]


def curve_fit(solver: lmjax.LevenbergMarquardt, **options: Any) -> list[np.ndarray]:
    start = {"height": 1.0, "rate": 0.2}
    return numbers_of(lmjax.least_squares(decay, start, (TIMES, VALUES), solver=solver, **options))


def rank_deficient(solver: lmjax.LevenbergMarquardt) -> list[np.ndarray]:
    return numbers_of(lmjax.least_squares(sum_of_two, np.array([0.3, 0.9, 0.1]), solver=solver))


def bounded(solver: lmjax.LevenbergMarquardt) -> list[np.ndarray]:
    bounds = (np.array([-2.0, 0.5]), np.array([0.8, 2.0]))
    return numbers_of(
        lmjax.least_squares(rosenbrock, np.array([-1.2, 1.0]), solver=solver, bounds=bounds)
    )


def trained(solver: lmjax.LevenbergMarquardt, **options: Any) -> list[np.ndarray]:
    return numbers_of_fit(
        lmjax.fit(
            network, network_start(), INPUTS, TARGETS, epochs=6, verbose=0, solver=solver, **options
        )
    )


def in_batches(solver: lmjax.LevenbergMarquardt) -> list[np.ndarray]:
    return trained(solver, batch_size=8)


PROBLEMS: dict[str, Run] = {
    run.__name__: run for run in (curve_fit, rank_deficient, bounded, trained, in_batches)
}
#: The doors through which they go, of which each takes the options that count there.
DOORS = {trained.__name__: "a fit of a model", in_batches.__name__: "a fit in batches"}


def counts(problem: str, option: str) -> bool:
    """Whether an option of the solver has an effect on a problem, and so may be given."""
    return option in COUNTED[DOORS.get(problem, "least_squares")]


@functools.cache
def numbers(problem: str, solver: lmjax.LevenbergMarquardt) -> list[np.ndarray]:
    """All numbers of a run, kept, since many comparisons have the same original."""
    return PROBLEMS[problem](solver)
