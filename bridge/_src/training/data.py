"""Data as Keras' ``fit`` takes them, in the form that the converted model does: without names, in
the model's order.
"""

from __future__ import annotations

import jax
import numpy as np

from bridge._src.description.inputs import in_order
from bridge._src.training.outputs.supervision import Supervision
from bridge._src.training.streams import ModelSource
from lmjax._src.arrays.numbers import real_array
from lmjax._src.training.data import (
    TRAINING,
    VALIDATION,
    VALIDATION_BATCHES,
    Data,
    InMemory,
    Names,
    Streamed,
    data_of,
)
from lmjax._src.typing import PyTree


def training_data(
    x: PyTree, y: PyTree, sample_weight: PyTree, supervision: Supervision, names: Names = TRAINING
) -> Data:
    """What was given to train on.

    Args:
        x: inputs, or batches.
        y: targets; None beside batches.
        sample_weight: weights or None.
        supervision: what they mean for the model.
        names: what the three are called in messages.
    """
    given = data_of(x, y, sample_weight, names)
    if isinstance(given, Streamed):
        return given._replace(source=ModelSource(given.source, supervision, names))
    inputs = in_order(as_arrays(x), supervision.module.inputs)
    targets = supervision.targets(y, names[1])
    weights = supervision.weights(targets, sample_weight, names[2])
    return InMemory(inputs, targets, weights, names)


def validation_data(given: PyTree, supervision: Supervision) -> Data:
    """What was given to validate on: (x, y), (x, y, sample_weight) or batches; classes have no
    weights.
    """
    batches = not (isinstance(given, (tuple, list)) and len(given) in (2, 3)) or all(
        isinstance(part, tuple) for part in given
    )
    x, y, sample_weight = (given, None, None) if batches else (*given, None)[:3]
    names = VALIDATION_BATCHES if batches else VALIDATION
    return training_data(x, y, sample_weight, supervision.without_classes(), names)


def as_arrays(x: PyTree) -> PyTree:
    """``x`` with everything that is not a container of inputs as an array (data frames, tensors,
    lists of numbers).
    """
    if isinstance(x, dict):
        return {name: np.asarray(real_array(part, f"x[{name!r}]")) for name, part in x.items()}
    if isinstance(x, (list, tuple)) and x and all(hasattr(part, "shape") for part in x):
        arrays = [
            np.asarray(real_array(part, f"x[{place}]" if len(x) > 1 else "x"))
            for place, part in enumerate(x)
        ]
        return arrays if len(arrays) > 1 else arrays[0]
    return np.asarray(real_array(x, "x"))


def split(data: Data, fraction: float) -> tuple[InMemory, InMemory]:
    """All rows but the last ``fraction``, and those as validation data, as Keras splits.

    Raises:
        ValueError: the fraction leaves no rows on one side, or the data are streamed.
    """
    if isinstance(data, Streamed):
        raise ValueError(
            "validation_split: data that are streamed cannot be split; pass validation_data"
        )
    rows = len(jax.tree.leaves(data.y)[0])
    kept = int(rows * (1 - fraction)) if 0 < fraction < 1 else 0
    if not 0 < kept < rows:
        raise ValueError(
            f"validation_split: {fraction!r} of {rows} rows leaves nothing to train or to "
            "validate on; expected a fraction between 0 and 1"
        )

    def part(chosen: slice, names: Names) -> InMemory:
        x, y, sample_weight = jax.tree.map(
            lambda leaf: leaf[chosen], (data.x, data.y, data.sample_weight)
        )
        return InMemory(x, y, sample_weight, names)

    return part(slice(kept), data.names), part(slice(kept, None), VALIDATION)
