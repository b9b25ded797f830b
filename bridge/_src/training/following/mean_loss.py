"""The loss of a converted model on data, as ``model.evaluate`` has it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.description.errors import ConversionError
from bridge._src.description.identity import described, key_of
from bridge._src.description.regularizers import (
    Orthogonal,
    options_of,
    orthogonal_fault,
    orthogonal_of,
)
from bridge._src.description.weights import WeightTable, leaves
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.entering import Entrance
from bridge._src.training.independent_rows import check_rows_apart
from bridge._src.training.masks import output_mask
from bridge._src.training.outputs.losses import OutputLosses
from bridge._src.training.outputs.side_by_side import side_by_side
from bridge._src.training.problem import problem_of
from lmjax._src.arrays.structure import Structure
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.penalties.orthogonality import Orthogonality
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime.precision import scope
from lmjax._src.training.data import Data, InMemory
from lmjax._src.training.dataset import make_rows
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.training.streaming.stream import Stream
from lmjax._src.typing import Array, PyTree

#: Regularizers that are sums over the numbers of a weight, one by one.
_SUMS = ("L1", "L2", "L1L2")
_NO_ROWS: PyTree = None


def mean_loss(model: FlaxModel, loss: str | Loss | OutputLosses, data: Data) -> float:
    """The mean loss plus the penalties of regularizers: what Keras calls ``loss``.

    Where outputs are masked it is that of a batch of all rows. Nothing is linearized, so that
    regularizers and constraints by which Levenberg-Marquardt cannot train are no hindrance.

    Args:
        model: the model.
        loss: of its outputs; with losses of outputs, targets and weights of the data are lists.
        data: inputs, targets and weights; those that are streamed are read once.

    Raises:
        ConversionError: a regularizer is none of L1, L2, L1L2 and OrthogonalRegularizer (of a
            matrix), or what the model says of one row depends on others.
        TypeError, ValueError: the data do not fit the model or the loss.
    """
    penalty, laid_out = _penalty(model), None
    if isinstance(loss, OutputLosses):
        outputs = side_by_side(model, loss, data)
        model, loss, laid_out = outputs.model, outputs.loss, outputs.weights
        data = outputs.data(data)
    check_rows_apart(model)
    data = Entrance(model).data(data)
    mask = output_mask(model, laid_out)
    if mask is not None:
        data = mask.data(data)
    problem = problem_of(_unpenalized(model), loss)
    with scope(model.dtype):
        params, structure = problem.params, Structure.of(problem.params)
        objective = SupervisedObjective(_NO_ROWS, problem.function, None, problem.loss, structure)
        flat = jnp.asarray(structure.flatten_concrete(params, model.dtype))
        if isinstance(data, InMemory):
            beside = (*data[:3], model.dtype, data.names)
            rows = make_rows(problem.function, params, problem.loss, *beside)
            losses = jax.jit(SupervisedObjective.evaluate)(
                dataclasses.replace(objective, rows=rows), flat
            ).losses
        else:
            stream = Stream(
                data.source, problem.function, params, problem.loss, model.dtype, data.names
            )
            losses = StreamedObjective(objective, stream).evaluate(flat).losses
        return float(np.sum(np.asarray(losses), dtype=np.float64)) + penalty


def _unpenalized(model: FlaxModel) -> FlaxModel:
    """The model without regularizers and constraints of weights."""
    entries = [
        dataclasses.replace(entry, regularizer=None, constraint=None) for entry in model.table
    ]
    return dataclasses.replace(model, table=WeightTable(entries))


def _mean_cosine(asked: Orthogonal, weight: Array) -> float:
    """The value of an ``OrthogonalRegularizer``."""
    with scope(np.float64):
        matrix = jnp.asarray(weight, np.float64)
        factor = jnp.asarray(asked.factor, np.float64)
        term = Orthogonality(factor, 0, (matrix.shape[0], matrix.shape[1]), asked.by_columns)
        return float(term.value(matrix.ravel()))


def _penalty(model: FlaxModel) -> float:
    """What regularizers say of the trainable weights, which are the only ones that Keras counts."""
    values, total, faults = dict(leaves(model.params)), 0.0, []
    for entry in model.table.trainable:
        if entry.regularizer is None:
            continue
        asked = orthogonal_of(entry.regularizer)
        if asked is not None:
            fault = orthogonal_fault(entry.regularizer, entry.shape)
            if fault is None:
                total += _mean_cosine(asked, values[entry.path])
            else:
                faults.append(f"{entry.name}: {fault}")
            continue
        if key_of(entry.regularizer, "regularizers") not in _SUMS:
            faults.append(f"{entry.name}: {described(entry.regularizer, 'regularizers')}")
            continue
        options, weight = options_of(entry.regularizer), np.asarray(values[entry.path], np.float64)
        total += float(options.get("l1") or 0.0) * float(np.sum(np.abs(weight)))
        total += float(options.get("l2") or 0.0) * float(np.sum(np.square(weight)))
    if faults:
        raise ConversionError(
            "the regularizers L1, L2, L1L2 and OrthogonalRegularizer (of matrices) are served, and "
            "the model has others, with which "
            f"model.evaluate in Keras computes the loss: {', '.join(faults)}"
        )
    return total
