"""Steps whose curvature comes from a sample of the rows, while the loss and its gradient come from
all of them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.losses.step_weights import of_rows
from lmjax._src.objectives.rows import Rows
from lmjax._src.objectives.sampled import SampledObjective
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.training.weighted_draw import draw_keys, largest, weights_of_drawn

Whole = TypeVar("Whole", SupervisedObjective, StreamedObjective)

#: The fewest rows in a sample, so that a small model sees some of everything.
_LEAST = 512

#: The largest part of all rows that is worth a program of its own: when asked for, and by itself.
_PART, _PART_BY_ITSELF = 1 / 2, 1 / 10

#: Residuals for each parameter, where nobody says how many. On seven data sets from eight starts
#: each, to within a tenth of the final loss in orders of magnitude, 16 took 0.93 (float32) and 1.00
#: (float64) of the time of 24, 12 0.96 and 20 1.01 and 1.03.
_RESIDUALS = 16

#: Multiplications that take some milliseconds.
_LONG = 2**25

#: The most memory for the rows of a sample of streamed data, when nobody asked for it: such data
#: have to leave memory alone.
_MOST_BYTES = 128 * 2**20

#: An epoch is slow if it lowers the loss by less than this part; so many in a row end the steps
#: with the sample.
_SLOW, PATIENCE = 0.01, 5


def takes_long(num_residuals: int, num_params: int) -> bool:
    """Whether JᵀJ takes milliseconds, so that the tenths of a second for which a program is
    compiled are soon won back.
    """
    return num_residuals * num_params**2 >= _LONG


def sample_size(
    solver: LevenbergMarquardt, num_params: int, num_rows: int, outputs_per_row: int
) -> int | None:
    """How many of ``num_rows`` rows the curvature is to come from, None for all."""
    wanted = solver.curvature_sample
    if wanted is None or solver.linear.form is not Form.NORMAL:
        return None
    by_itself = not isinstance(wanted, int)
    if by_itself and not takes_long(num_rows * outputs_per_row, num_params):
        return None
    size = max(
        _LEAST,
        math.ceil(
            (wanted if isinstance(wanted, int) else _RESIDUALS) * num_params / outputs_per_row
        ),
    )
    return size if size <= (_PART_BY_ITSELF if by_itself else _PART) * num_rows else None


def slow_epochs(slow: jax.Array | int, before: jax.Array, after: jax.Array) -> jax.Array:
    """How many epochs in a row were slow, after ``slow`` of them and one that took the loss from
    ``before`` to ``after``.
    """
    return jnp.where(after > (1 - _SLOW) * before, slow + 1, 0)


def with_sample(
    solver: LevenbergMarquardt, objective: Whole, params: Vector
) -> Whole | SampledObjective:
    """The objective with the sample that suits it; the same one for the same sizes and weights."""
    size = sample_size(
        solver,
        vectors.size(params),
        objective.num_rows,
        objective.outputs_per_row(params),
    )
    if size is None:
        return objective
    if isinstance(objective, SupervisedObjective):
        return SampledObjective(
            objective, dataclasses.replace(objective, rows=_drawn(objective.rows, size))
        )
    if solver.curvature_sample == "auto" and size * objective.stream.row_bytes > _MOST_BYTES:
        return objective
    return SampledObjective(objective, objective.drawn(size))


def _drawn(rows: Rows, size: int) -> Rows:
    """So many rows at random; by their weights where they have any, and then of one weight, so that
    the mean stays what it was.
    """
    random, count = np.random.default_rng(0), rows.targets.shape[0]
    if rows.weights is None:
        chosen, weights = np.sort(largest(draw_keys(random, np.ones(count)), size)), None
    else:
        weighed = np.asarray(rows.weights)
        given = np.asarray(of_rows(weighed), float)
        shares = given if given.any() else np.ones(count)
        influential = np.flatnonzero(shares)
        keys = draw_keys(random, shares[influential])
        chosen = np.sort(influential[largest(keys, size)])
        mean = float(given.mean())
        weights = jnp.asarray(weights_of_drawn(weighed[chosen], len(influential), count, mean))
    # On a CPU NumPy reads the rows where they are, and nothing is compiled.
    on_host = jax.default_backend() == "cpu"
    inputs, targets = jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf)[chosen]) if on_host else leaf[chosen],
        (rows.inputs, rows.targets),
    )
    return Rows(inputs, targets, weights)
