"""Runs of one solver over NIST's certified problems and those of Moré, Garbow and Hillstrom, as
plain records.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

import lmjax
from benchmarks.problems import mgh, nist
from benchmarks.problems.stationarity import is_stationary

#: Correct digits of all parameters from which a certified problem counts as solved; the final
#: phase, which brings the rest, is the same for all alternatives and left out.
_DIGITS = 5

#: Of parameters and residuals: what the peers are asked for.
_TOLERANCE = 1e-10


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a solver says: the last parameters, whether it calls them a solution, and the
    evaluations that it took.
    """

    params: np.ndarray
    success: bool
    evaluations: int


@dataclasses.dataclass(frozen=True)
class Run:
    """One problem from one start. ``stationary`` is false only where success is claimed at a point
    that is no minimum.
    """

    corpus: str
    problem: str
    start: str
    solved: bool
    success: bool
    stationary: bool
    evaluations: int


class Solver(Protocol):
    """Solves from one start; what it compiles for the last residual function serves all starts and
    data of the same shapes.
    """

    def __call__(
        self, residual_fn: Callable[..., Any], start: np.ndarray, data: tuple[Any, ...] = ()
    ) -> Outcome: ...


def run_all(solver: Solver) -> Iterator[Run]:
    """All problems from all starts."""
    for certified in nist.problems():
        residuals = functools.partial(_with_data, certified.residuals(), certified.data)
        for which in (1, 2):
            outcome = solver(residuals, certified.start(which))
            yield _run(
                "NIST",
                certified.name,
                f"start {which}",
                residuals,
                outcome,
                certified.certified_digits(outcome.params) >= _DIGITS,
            )
    for problem in mgh.PROBLEMS:
        for factor in (1, 10, 100):
            outcome = solver(problem.residual_fn, problem.start(factor))
            with jax.enable_x64(True), np.errstate(all="ignore"):
                total = float(jnp.sum(problem.residual_fn(jnp.asarray(outcome.params)) ** 2))
            yield _run(
                "MGH",
                problem.name,
                f"×{factor}",
                problem.residual_fn,
                outcome,
                bool(problem.is_solved(total)),
            )


def _with_data(residual_fn: Callable[..., Any], data: Any, params: Any) -> Any:
    return residual_fn(params, *map(jnp.asarray, data))


def _run(
    corpus: str,
    name: str,
    start: str,
    residual_fn: Callable[..., Any],
    outcome: Outcome,
    solved: bool,
) -> Run:
    stationary = not outcome.success or solved or bool(is_stationary(residual_fn, outcome.params))
    return Run(corpus, name, start, solved, outcome.success, stationary, outcome.evaluations)


def lmjax_solver(**options: Any) -> Solver:
    """``lmjax.least_squares`` with options other than the defaults."""
    solver = lmjax.LevenbergMarquardt(**{"polish": False, "second_run": False, **options})

    def solve(
        residual_fn: Callable[..., Any], start: np.ndarray, data: tuple[Any, ...] = ()
    ) -> Outcome:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lmjax.ConvergenceWarning)
            solution = lmjax.least_squares(residual_fn, start, data, solver=solver)
        return Outcome(
            np.asarray(solution.params), solution.status.success, int(solution.num_evaluations)
        )

    return solve


def optimistix_solver(max_evaluations: int = 10_000, absolute: float = _TOLERANCE) -> Solver:
    """``optimistix.LevenbergMarquardt``; each of its steps evaluates the residuals once."""
    import optimistix

    solver = optimistix.LevenbergMarquardt(rtol=_TOLERANCE, atol=absolute)

    @functools.lru_cache(maxsize=1)
    def compiled(residual_fn: Callable[..., Any]) -> Callable[..., Any]:
        def run(start: jax.Array, data: tuple[Any, ...]) -> tuple[Any, Any, Any]:
            found = optimistix.least_squares(
                lambda p, data: residual_fn(p, *data),
                solver,
                start,
                data,
                max_steps=max_evaluations - 1,
                throw=False,
            )
            return (
                found.value,
                found.result == optimistix.RESULTS.successful,
                found.stats["num_steps"],
            )

        return jax.jit(run)

    def solve(
        residual_fn: Callable[..., Any], start: np.ndarray, data: tuple[Any, ...] = ()
    ) -> Outcome:
        with jax.enable_x64(True):
            params, success, steps = compiled(residual_fn)(
                jnp.asarray(start), tuple(map(jnp.asarray, data))
            )
        return Outcome(np.asarray(params), bool(success), int(steps) + 1)

    return solve


def scipy_solver(method: str, max_evaluations: int = 10_000, **more: Any) -> Solver:
    """``scipy.optimize.least_squares`` with exact Jacobians."""
    import scipy.optimize

    options = {
        "xtol": _TOLERANCE,
        "ftol": _TOLERANCE,
        "gtol": _TOLERANCE,
        "max_nfev": max_evaluations,
        **more,
    }

    @functools.lru_cache(maxsize=1)
    def compiled(residual_fn: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
        def flat(params: Any, *data: Any) -> Any:
            return jnp.ravel(residual_fn(params, *data))

        return jax.jit(flat), jax.jit(jax.jacfwd(flat))

    def solve(
        residual_fn: Callable[..., Any], start: np.ndarray, data: tuple[Any, ...] = ()
    ) -> Outcome:
        with jax.enable_x64(True), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            evaluate, slopes = compiled(residual_fn)
            on_device = tuple(map(jnp.asarray, data))
            try:
                found = scipy.optimize.least_squares(
                    lambda p: np.asarray(evaluate(p, *on_device)),
                    start,
                    lambda p: np.asarray(slopes(p, *on_device)),
                    method=method,
                    **options,
                )
            except ValueError:  # residuals that are not finite, or too few for MINPACK
                return Outcome(start, False, 1)
            return Outcome(found.x, bool(found.success), int(found.nfev))

    return solve
