"""Public problems and 50 perturbed starts of each, the same in every run and for every solver."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from benchmarks.corpora import Solver
from benchmarks.problems import curves, mgh, nist

#: How many of each problem.
STARTS = 50

#: The standard deviation of the logarithm of a factor: two thirds of the parameters are at most
#: doubled or halved.
SPREAD = float(np.log(2))

#: A sum of squares counts as the least one up to this fraction above it; peers stop at 1e-10.
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Problem:
    """A residual function of the parameters and data, with a start and data for each run."""

    family: str
    name: str
    residual_fn: Callable[..., Any]
    starts: np.ndarray  #: (STARTS, P)
    data: Callable[[int], tuple[Any, ...]]
    least: Callable[[int], float]  #: the largest sum of squares that counts as solved


def perturbed(start: np.ndarray, name: str, number: int = STARTS) -> np.ndarray:
    """``number`` starts around one: each parameter times 2ᶻ, z normal, so that its sign stays.

    A zero becomes the smallest of the other parameters' sizes, or one, times a normal number of the
    same spread.
    """
    normal = np.random.default_rng(zlib.crc32(name.encode())).normal(size=(number, start.size))
    sizes = np.abs(start[start != 0])
    scale = sizes.min() if sizes.size else 1.0
    return np.where(start == 0, scale * SPREAD * normal, start * np.exp(SPREAD * normal))


def problems() -> Iterator[Problem]:
    """All problems of all families."""
    yield from map(_certified, nist.problems())
    for standard in mgh.PROBLEMS:
        starts = perturbed(standard.start(1), standard.name)
        yield Problem(
            "MGH",
            standard.name,
            standard.residual_fn,
            starts,
            lambda _: (),
            _constant(_most(standard.optimum, 1e-16)),
        )
    yield from (_curve("forums", curve) for curve in curves.FORUMS)
    yield from (_curve("SI units", curve) for curve in curves.units())
    noisy = tuple(curves.sine_with_noise(seed) for seed in range(STARTS))
    start = np.array(curves.SINE_START)
    for name, starts in (
        ("as posted, 50 noises", np.tile(start, (STARTS, 1))),
        ("perturbed, 50 noises", perturbed(start, "sine")),
    ):
        yield Problem(
            "sine", name, curves.sine, starts, lambda k: noisy[k].data, lambda k: least(noisy[k])
        )


def _certified(problem: nist.NistProblem) -> Problem:
    """Half of the starts around each of NIST's two."""
    starts = [
        perturbed(problem.start(which), f"{problem.name} {which}", STARTS // 2) for which in (1, 2)
    ]
    data = problem.data
    best = np.array([float(value) for value in problem.record["polished_params"]])
    with jax.enable_x64(True):
        optimum = float(np.sum(np.square(problem.residuals()(best, *data))))
    least = _most(optimum, 1e-16 * float(np.sum(np.square(data[-1]))))
    return Problem(
        "NIST",
        problem.name,
        problem.residuals(),
        np.concatenate(starts),
        lambda _: data,
        _constant(least),
    )


def _curve(family: str, curve: curves.Curve) -> Problem:
    starts = perturbed(np.array(curve.start), curve.name)
    return Problem(
        family, curve.name, curve.residual_fn, starts, lambda _: curve.data, _constant(least(curve))
    )


@functools.cache
def least(curve: curves.Curve) -> float:
    """The largest sum of squares with which a curve counts as fitted."""
    return _most(_from_truth(curve) if curve.optimum is None else curve.optimum, curve.floor)


def _from_truth(curve: curves.Curve) -> float:
    """The least sum of squares near the parameters with which the data were made."""
    with jax.enable_x64(True):
        function = functools.partial(_with_data, curve.residual_fn, curve.data)
        found = scipy.optimize.least_squares(
            lambda p: np.asarray(function(p)),
            curve.truth,
            jax.jacfwd(function),
            method="lm",
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
        )
    return 2 * float(found.cost)


def _most(optimum: float, floor: float) -> float:
    return optimum * (1 + _TOLERANCE) + floor


def _constant(value: float) -> Callable[[int], float]:
    return lambda _: value


def _with_data(residual_fn: Callable[..., Any], data: tuple[Any, ...], params: Any) -> Any:
    return residual_fn(params, *map(jnp.asarray, data)).ravel()


def solved(problem: Problem, solver: Solver, evaluations: int, numbers: Iterable[int]) -> list[int]:
    """Which of these starts end at the least known sum of squares, whatever the solver says of
    it.
    """

    def sum_of_squares(params: Any, data: tuple[Any, ...]) -> Any:
        return jnp.sum(problem.residual_fn(params, *data) ** 2)

    compiled, found = jax.jit(sum_of_squares), []
    for k in numbers:
        data = problem.data(k)
        outcome = solver(problem.residual_fn, problem.starts[k], data)
        with jax.enable_x64(True):
            total = float(compiled(outcome.params, data))
        if total <= problem.least(k) and outcome.evaluations <= evaluations:
            found.append(k)
    return found
