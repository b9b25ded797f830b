"""What a step will cost: memory and arithmetic, from shapes alone."""

from __future__ import annotations

import dataclasses
import time

import jax
import jax.numpy as jnp

from lmjax._src.arrays.products import HIGHEST
from lmjax._src.layerwise.gram_matrices import GramCost, gram_cost
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.mean_loss import CHUNK_BYTES
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime.jaxpr_costs import operations
from lmjax._src.training.epochs.sampling import sample_size
from lmjax._src.typing import DType, Params

#: Square matrices in memory at once: the Gauss-Newton one, the damped one, and its Cholesky factor.
_MATRICES = 3
#: Vectors over the parameters: gradient, scaling, step, acceleration, trial parameters and the
#: like; and where they are lists of arrays, whose scaling is a number for each and which are not
#: put together.
_VECTORS, _VECTORS_BY_ARRAYS = 10, 4
#: Evaluations of the model in a step beside those for the Jacobian: the trial, and two nested
#: derivatives and one backwards for the acceleration.
_EVALUATIONS = 8
#: Of all rows where the curvature comes from a sample of them: the model, and backwards for the
#: gradient.
_VALUES_AND_GRADIENT = 3


#: Size of the product whose rate is taken for the machine's.
PROBE = 1000


def product_rate(dtype: DType) -> float:
    """FLOP/s of a square product in ``dtype`` on the device that would train: the best of five."""
    square = jnp.ones((PROBE, PROBE), dtype)
    product = jax.jit(lambda A: jnp.matmul(A, A, precision=HIGHEST))
    product(square).block_until_ready()
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        product(square).block_until_ready()
        seconds.append(time.perf_counter() - begin)
    return 2 * PROBE**3 / min(seconds)


@dataclasses.dataclass(frozen=True)
class StepCost:
    """One step of a fit, with one attempt.

    Attributes:
        linear_solver: the name of the one that is used.
        num_params: P.
        num_residuals: m, the rows of J.
        matrix_size: rows of the square matrix that is factored.
        memory: bytes, beside the data and the parameters.
        model: operations (additions and multiplications) of the model and its derivatives.
        product: operations of JᵀJ or J Jᵀ.
        factorization: operations of the Cholesky factor.
        sampled_rows: rows of data that JᵀJ comes from; None for all.
    """

    linear_solver: str
    num_params: int
    num_residuals: int
    matrix_size: int
    memory: float
    model: float
    product: float
    factorization: float
    sampled_rows: int | None = None

    @property
    def operations(self) -> float:
        """All of them."""
        return self.model + self.product + self.factorization


def step_cost(
    solver: LevenbergMarquardt, objective: SupervisedObjective, params: Params
) -> StepCost:
    """The cost of a step of ``lmjax.fit``; the arrays of ``objective`` and ``params`` (P,) need be
    no more than shapes.
    """
    solver = solver.resolved(objective, params)
    form, size, rows = solver.linear.form, params.size, objective.num_residuals(params)
    item = params.dtype.itemsize
    model = jax.make_jaxpr(
        lambda p, inputs: objective.model(objective.structure.unflatten(p), inputs)
    )(params, objective.rows.inputs)
    forward, outputs = operations(model.jaxpr), objective.outputs_per_row(params)
    values = min(CHUNK_BYTES, objective.num_rows * objective.row_bytes(params))
    sample = sample_size(solver, size, objective.num_rows, outputs)
    if sample is not None:
        drawn = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((sample, *leaf.shape[1:]), leaf.dtype), objective.rows
        )
        of_sample = step_cost(
            dataclasses.replace(solver, curvature_sample=None),
            dataclasses.replace(objective, rows=drawn),
            params,
        )
        return dataclasses.replace(
            of_sample,
            num_residuals=rows,
            memory=of_sample.memory + values,
            model=of_sample.model + _VALUES_AND_GRADIENT * forward,
            sampled_rows=sample,
        )
    by_arrays = form is Form.DUAL and objective.layerwise
    passes = 4 if by_arrays else 2 * outputs
    matrix_size = form.factored_rows(rows, size)
    plan = objective.normal_plan(params) if form is Form.NORMAL else None
    numbers = objective.jacobian_numbers(params) if plan is None else plan.numbers
    chunk = objective.chunk_rows(params, numbers) * numbers * item
    if plan is not None:
        memory, product = (
            _MATRICES * size**2 * item + 2 * chunk,
            plan.operations * objective.num_rows,
        )
    elif form is Form.NORMAL:
        memory, product = _MATRICES * size**2 * item + 2 * chunk, 2.0 * rows * size**2
    elif by_arrays:
        layers = _layerwise(objective, params, outputs, 3.0 * forward / objective.num_rows)
        memory, product = (
            (len(objective.structure.shapes) + _MATRICES) * rows**2 * item + layers.memory,
            layers.operations,
        )
    elif form is Form.OPERATOR:
        memory, product = 2 * chunk, 4.0 * forward
    else:
        memory, product = (
            rows * size * item + _MATRICES * matrix_size**2 * item,
            2.0 * rows * size * matrix_size,
        )
    memory += (_VECTORS_BY_ARRAYS if by_arrays else _VECTORS) * size * item + values
    return StepCost(
        type(solver.linear_solver).__name__,
        size,
        rows,
        matrix_size,
        float(memory),
        (passes + _EVALUATIONS) * float(forward),
        product,
        matrix_size**3 / 3,
    )


def _layerwise(
    objective: SupervisedObjective, params: Params, outputs: int, backward: float
) -> GramCost:
    tree = jax.eval_shape(objective.structure.unflatten, params)
    leaves, treedef = jax.tree.flatten(tree)
    one = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), objective.rows.inputs
    )
    model = objective.model
    return gram_cost(
        lambda p, x: model(jax.tree.unflatten(treedef, p), x),
        leaves,
        one,
        objective.num_rows,
        outputs,
        backward,
    )
