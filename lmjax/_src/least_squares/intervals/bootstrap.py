"""Fits to data that were drawn again: ``Solution.bootstrap``.

Sources: A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, chapter 6
(regression; section 7.6 for nonlinear models) and chapter 5 (intervals).
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.products import product
from lmjax._src.least_squares import statistics
from lmjax._src.least_squares.finish import with_last_digits
from lmjax._src.least_squares.intervals.bootstrapped import Bootstrap, bootstrap_of
from lmjax._src.least_squares.intervals.held_fits import fits_at_once
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt, run_until
from lmjax._src.levenberg_marquardt.state import initial_state
from lmjax._src.levenberg_marquardt.status import ConvergenceWarning
from lmjax._src.objectives.residual_weights import spread_weights
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime import interrupts
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.compilation import Effort
from lmjax._src.runtime.user_warnings import warn
from lmjax._src.typing import Array, Key, NumpyArray, Params, PyTree

#: A residual whose leverage leaves less than this of its variance is zero whatever the noise, and
#: tells nothing of it.
_LEAST_VARIANCE = 1e-6

#: The share of fits from which on it is told that they have failed.
_TOLD = 0.05


class Noise(NamedTuple):
    """What the m residuals at a solution say of the noise."""

    values: Array  #: the weighted residuals, (m,)
    modified: Array  #: those over √(1 - h), h their leverages, less their mean, (m,)
    counts: Array  #: whether each counts: not those of weight zero, (m,)
    single: Array  #: by how much each parameter is off for a unit of noise in each, (P, m)
    share: Array  #: by how much it is off for what each residual is, (P, m)


class Block(NamedTuple):
    """An array of residuals within the vector of all."""

    start: int
    cases: int  #: the length of its first axis
    width: int  #: residuals of a case


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _WithOtherNoise:
    """The residuals of data that the model at the solution makes with other noise."""

    objective: ResidualObjective
    change: jax.Array  #: (m,)

    def __call__(self, params: Params) -> jax.Array:
        """The weighted residuals."""
        return self.objective.evaluate(self.objective.structure.flatten(params)) + self.change


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _OfOtherCases:
    """The residuals of some cases, each as often as it was drawn."""

    objective: ResidualObjective
    index: jax.Array  #: of them in the vector of all, (m,)

    def __call__(self, params: Params) -> jax.Array:
        """The weighted residuals."""
        return self.objective.evaluate(self.objective.structure.flatten(params))[self.index]


def bootstrap(
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: Array,
    *,
    solver: LevenbergMarquardt,
    key: Key | int,
    n: int,
    kind: str,
) -> Bootstrap:
    """The fits to ``n`` data sets, each from the solution ``flat`` (P,) on."""
    blocks = _blocks(objective, flat)
    noise = _noise(objective, bounds, flat)
    keys = jax.random.split(jax.random.key(key) if isinstance(key, (int, np.integer)) else key, n)
    size = fits_at_once(objective, flat, n)
    parts = []
    for first in range(0, n, size):
        interrupts.check()
        # The last call has as many fits as the others, so that it is no program of its own.
        some = keys[np.minimum(np.arange(first, first + size), n - 1)]
        part = _drawn_fits(solver, kind, blocks, objective, bounds, flat, noise, some)
        parts.append(jax.tree.map(np.asarray, part))
    params, status = (np.concatenate(leaves)[:n] for leaves in zip(*parts, strict=True))
    acceleration = _acceleration(jax.tree.map(np.asarray, noise), kind, blocks)
    found = bootstrap_of(objective.structure, np.asarray(flat), params, (status, acceleration))
    if found.num_failed > _TOLD * n:
        warn(
            f"bootstrap: {found.num_failed} of {n} fits have found no minimum, and do not count; "
            "status_codes says why each has stopped",
            ConvergenceWarning,
        )
    return found


def _shapes(objective: ResidualObjective, flat: jax.Array) -> PyTree:
    """The residuals' shapes, as the residual function returns them."""
    return jax.eval_shape(
        lambda vector: objective.residual_fn(
            objective.structure.unflatten(vector), *objective.args
        ),
        flat,
    )


def _blocks(objective: ResidualObjective, flat: Array) -> tuple[Block, ...]:
    residuals = _shapes(objective, jnp.asarray(flat))
    blocks, start = [], 0
    for leaf in jax.tree.leaves(residuals):
        cases = leaf.shape[0] if leaf.shape else 1
        blocks.append(Block(start, cases, math.prod(leaf.shape[1:])))
        start += leaf.size
    return tuple(blocks)


@recent(effort=Effort.QUICK)
def _noise(objective: ResidualObjective, bounds: Bounds | None, flat: jax.Array) -> Noise:
    flat = jnp.asarray(flat)
    values, residuals, jacobian = objective.model_rows(flat, floor=0.0)
    root = statistics._factors(objective, bounds, flat, True).root
    orthogonal = product(jacobian, root)
    left = 1 - jnp.sum(jnp.square(orthogonal), axis=1)
    # Where the leverage is one, the residual is zero whatever the noise; and where the data do not
    # determine the parameters there are no leverages.
    left = jnp.where(left > _LEAST_VARIANCE, left, 1)
    counts = jnp.ones(values.shape, bool)
    if objective.root_weights is not None:
        counts = spread_weights(objective.root_weights, _shapes(objective, flat)) != 0
    modified = jnp.where(counts, values / jnp.sqrt(left), 0)
    mean = jnp.sum(modified) / jnp.maximum(jnp.sum(counts), 1)
    single = -product(root, orthogonal.T)
    return Noise(
        values, jnp.where(counts, modified - mean, 0), counts, single, single * (residuals / left)
    )


@recent(static_argnums=(0, 1, 2), effort=Effort.QUICK)
def _drawn_fits(
    solver: LevenbergMarquardt,
    kind: str,
    blocks: tuple[Block, ...],
    objective: ResidualObjective,
    bounds: Bounds | None,
    flat: jax.Array,
    noise: Noise,
    keys: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    start = jnp.asarray(flat)
    draw = _other_noise if kind == "residuals" else _other_cases

    def fit(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = dataclasses.replace(
            objective, args=(), residual_fn=draw(objective, blocks, noise, key), root_weights=None
        )
        options = solver.resolved(drawn, start)
        state = initial_state(start, options.non_monotonic)
        params, state = run_until(
            options, drawn, bounds, start, state, jnp.asarray(options.max_steps)
        )
        params, state = with_last_digits(options, drawn, bounds, params, state)
        return params, state.status

    return jax.vmap(fit)(keys)


def _drawn_from(counts: jax.Array, key: jax.Array) -> jax.Array:
    """For each entry one of those that count, with replacement, as indices; itself for those that
    do not.
    """
    order = jnp.argsort(~counts)
    found = jax.random.randint(
        key, counts.shape, 0, jnp.maximum(jnp.sum(counts), 1).astype(jnp.int32), jnp.int32
    )
    return jnp.where(counts, order[found], jnp.arange(counts.size))


def _other_noise(
    objective: ResidualObjective, _: tuple[Block, ...], noise: Noise, key: jax.Array
) -> _WithOtherNoise:
    return _WithOtherNoise(objective, noise.modified[_drawn_from(noise.counts, key)] - noise.values)


def _other_cases(
    objective: ResidualObjective, blocks: tuple[Block, ...], noise: Noise, key: jax.Array
) -> _OfOtherCases:
    together = _are_of_one_table(blocks)
    index = []
    for k, (start, cases, width) in enumerate(blocks):
        rows = start + jnp.arange(cases * width).reshape(cases, width)
        counts = jnp.zeros(cases, bool)
        for other in blocks if together else [blocks[k]]:
            part = noise.counts[other.start : other.start + cases * other.width]
            counts |= jnp.any(part.reshape(cases, -1), axis=1)
        own = key if together else jax.random.fold_in(key, k)
        index.append(rows[_drawn_from(counts, own)].reshape(-1))
    return _OfOtherCases(objective, jnp.concatenate(index))


def _are_of_one_table(blocks: tuple[Block, ...]) -> bool:
    """Whether all arrays of residuals have a row for each of the same cases."""
    return len({block.cases for block in blocks}) == 1


def _acceleration(noise: Noise, kind: str, blocks: tuple[Block, ...]) -> NumpyArray:
    """A sixth of the skewness of each parameter, to first order, (P,).

    Source: B. Efron, "Better bootstrap confidence intervals", J. Amer. Stat. Assoc. 82, 1987; A. C.
    Davison, D. V. Hinkley, 1997, section 5.3.2.
    """
    if kind == "residuals":
        pool = noise.modified[noise.counts]
        spread = max(float(np.mean(pool**2)), float(np.finfo(pool.dtype).tiny)) ** 1.5
        parts, third = noise.single, float(np.mean(pool**3)) / spread
    else:
        cut = [
            noise.share[:, b.start : b.start + b.cases * b.width].reshape(
                len(noise.share), b.cases, -1
            )
            for b in blocks
        ]
        if _are_of_one_table(blocks):
            cut = [np.concatenate(cut, axis=2)]
        parts, third = np.concatenate([part.sum(axis=2) for part in cut], axis=1), 1.0
    largest = np.max(np.abs(parts), axis=1, keepdims=True)
    parts = parts / np.where(largest > 0, largest, 1)
    squares = np.sum(parts**2, axis=1)
    skewness = third * np.sum(parts**3, axis=1) / np.where(squares > 0, squares, 1) ** 1.5
    return np.where(np.isfinite(skewness), skewness, 0) / 6
