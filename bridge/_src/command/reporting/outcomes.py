"""What a trained model says of the samples of a set, beside their targets."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import numpy as np

from bridge._src.command.data.samples import Data
from bridge._src.command.evaluation.entering import entering
from bridge._src.command.evaluation.predictions import predict
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.entering import Entrance
from bridge._src.training.masks import output_mask
from bridge._src.training.outputs.losses import OutputLosses
from bridge._src.training.outputs.supervision import Supervision
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.training.data import InMemory
from lmjax._src.typing import NumpyArray, PyTree

#: Rows of data on disk that are looked at, evenly spaced where there are more.
_MOST_STREAMED = 50_000
#: Rows that are computed at once.
_ROWS = 4096


class Outcome(NamedTuple):
    """Targets and outputs of a set, of the rows and steps that count."""

    name: str  #: of the set
    targets: NumpyArray
    outputs: NumpyArray  #: (n, …), of the output with the loss
    columns: tuple[str, ...] | None  #: what the targets are called in a table
    every: int  #: 1, or every so many rows of data on disk


def outcome_of(name: str, model: FlaxModel, loss: Loss | OutputLosses, data: Data) -> Outcome:
    """What ``model`` says of ``data``, whose targets have the ``loss``.

    Args:
        name: of the set.
        model: the trained model.
        loss: of its outputs, of which one has targets in a file.
        data: of the set.

    Raises:
        TypeError, ValueError: the data do not fit the model.
    """
    every = math.ceil(data.num_samples / _MOST_STREAMED) if data.streamed else 1
    if data.streamed:
        data = _read(data.rows(slice(None, None, every)))
    entered = entering(data, Supervision(model.module, loss))
    assert isinstance(entered, InMemory)
    targets, weights, place = entered.y, entered.sample_weight, 0
    if isinstance(loss, OutputLosses):
        place, targets = loss.parts[0].place, targets[0]
        weights = None if weights is None else weights[0]
    pieces = [piece[place] for piece in predict(model, data, _ROWS).pieces]
    outputs = np.concatenate(pieces).astype(np.float64)
    targets = np.asarray(targets)
    kept = _counted(_mask(model, data.x, place), weights)
    if kept is not None:
        targets, outputs = targets[kept], outputs[kept]
    return Outcome(name, targets, outputs, data.targets, every)


def _read(data: Data) -> Data:
    """Memory maps as arrays in memory."""
    x, y, weights = jax.tree.map(np.array, (data.x, data.y, data.sample_weight))
    return data._replace(x=x, y=y, sample_weight=weights, streamed=False)


def _mask(model: FlaxModel, x: PyTree, place: int) -> NumpyArray | None:
    mask = output_mask(model)
    found = None if mask is None else mask(Entrance(model).inputs(x))
    return None if found is None else found[place]


def _counted(mask: NumpyArray | None, weights: PyTree) -> NumpyArray | None:
    """Which rows, or steps of rows, are not masked and have a weight; None for all."""
    given = [mask, None if weights is None else np.asarray(weights) > 0]
    parts = [part for part in given if part is not None and not part.all()]
    if not parts:
        return None
    most = max(part.ndim for part in parts)
    kept = np.ones((), bool)
    for part in parts:
        kept = kept & part.reshape(part.shape + (1,) * (most - part.ndim))
    return kept
