"""A word before work that will take long, with what would take less."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.costs import product_rate, step_cost

#: Seconds for an epoch that are long.
_LONG = 20.0
#: Operations that are not, on any machine that somebody would fit on.
_LITTLE = 1e11
#: Rows in the batches that are offered.
_BATCH = 1000
#: What is offered has to be so many times faster.
_WORTH_IT = 3.0


def forecast(
    solver: LevenbergMarquardt, batch_solver: LevenbergMarquardt, objective: Any, flat: Vector
) -> str | None:
    """How long an epoch of steps on all rows will take, if that is long; None if it is not, and for
    streams, whose reading nobody can tell.

    Args:
        solver: takes the steps.
        batch_solver: would take those on batches.
        objective: of all rows.
        flat: the start, (P,).
    """
    if not isinstance(objective, SupervisedObjective) or isinstance(flat, list):
        return None
    if 2.0 * vectors.size(flat) ** 2 * objective.num_residuals(flat) < _LITTLE:
        return None  # whatever the solver
    point = jax.ShapeDtypeStruct(flat.shape, flat.dtype)
    whole = step_cost(solver, objective, point)
    # The product with the matrix is of one iteration where there is no factor.
    iterations = getattr(solver.linear_solver, "max_iterations", 1)
    work = whole.model + iterations * whole.product + whole.factorization
    if work < _LITTLE:
        return None
    rate = product_rate(flat.dtype)
    seconds = work / rate
    if seconds < _LONG:
        return None
    about, by = (
        ("up to", f"at most {iterations} iterations")
        if iterations > 1
        else ("about", f"a system of {whole.matrix_size:,} equations")
    )
    text = (
        f"An epoch will take {about} {seconds:,.0f} s: {whole.num_params:,} parameters, {by} of "
        f"{whole.linear_solver}, {work / 1e9:,.0f} GFLOP at the {rate / 1e9:,.0f} GFLOP/s "
        "of a product here."
    )
    rows, num_rows = min(_BATCH, objective.num_rows), objective.num_rows
    cut = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype), objective.rows
    )
    batch = step_cost(batch_solver, dataclasses.replace(objective, rows=cut), point)
    batches = batch.operations * num_rows / rows / rate
    if rows < num_rows and batches * _WORTH_IT < seconds:
        text += f" With batch_size={rows} it would take about {batches:,.0f} s."
    return text
