"""Steps whose curvature comes from a sample of the rows, while the loss and its gradient come from all of them."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.curvature import Form
from lmjax.objectives import SupervisedObjective
from lmjax.solver import LevenbergMarquardt

#: The fewest rows in a sample, so that a small model sees some of everything.
_LEAST = 512

#: The largest part of all rows that is worth a program of its own.
_PART = 1 / 2

#: An epoch is slow if it lowers the loss by less than this part; so many in a row end the steps with the sample.
SLOW, PATIENCE = 0.01, 5


def sample_size(solver: LevenbergMarquardt, num_params: int, num_rows: int, outputs_per_row: int) -> int | None:
    """How many of ``num_rows`` rows the curvature is to come from, None for all."""
    if solver.curvature_sample is None or solver.linear.form is not Form.NORMAL:
        return None
    size = max(_LEAST, math.ceil(solver.curvature_sample * num_params / outputs_per_row))
    return size if size <= _PART * num_rows else None


def with_sample(solver: LevenbergMarquardt, objective: SupervisedObjective, params: jax.Array) -> SupervisedObjective:
    """The objective with the sample that suits it; the same one for the same sizes."""
    size = sample_size(solver, params.size, objective.num_rows, objective.num_residuals(params) // objective.num_rows)
    if size is None:
        return objective
    chosen = np.sort(np.random.default_rng(0).choice(objective.num_rows, size, replace=False))
    on_host = jax.default_backend() == "cpu"  # there NumPy reads the rows where they are, and nothing is compiled
    sample = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[chosen]) if on_host else leaf[chosen], objective.rows)
    return dataclasses.replace(objective, sample=sample)
