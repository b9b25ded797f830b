"""Data as Keras' ``fit`` takes them, in the form that the converted model does: without names, in
the model's order.
"""

from __future__ import annotations

from typing import NamedTuple

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

#: What messages call the data to test on.
TEST: Names = ("test x", "test y", "test sample_weight")
_BATCHES: dict[Names, Names] = {VALIDATION: VALIDATION_BATCHES, TEST: ("test_data",) * 3}


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


def held_out_data(given: PyTree, supervision: Supervision, names: Names = VALIDATION) -> Data:
    """What was given to validate or to test on: (x, y), (x, y, sample_weight) or batches; classes
    have no weights.
    """
    batches = not (isinstance(given, (tuple, list)) and len(given) in (2, 3)) or all(
        isinstance(part, tuple) for part in given
    )
    x, y, sample_weight = (given, None, None) if batches else (*given, None)[:3]
    called = _BATCHES[names] if batches else names
    return training_data(x, y, sample_weight, supervision.without_classes(), called)


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


class Sets(NamedTuple):
    """The data of a fit; None where there are none."""

    training: Data
    validation: Data | None = None
    test: Data | None = None


def split(data: Data, validation: float = 0.0, test: float = 0.0) -> Sets:
    """All rows but the last ones; those to validate on, and behind them those to test on.

    Args:
        data: in memory.
        validation: a fraction of all rows, which are as many as Keras holds out.
        test: likewise.

    Raises:
        ValueError: the fractions leave a set without rows, or the data are streamed.
    """
    named = {"validation_split": validation, "test_split": test}
    given = {name: share for name, share in named.items() if share}
    if not given:
        return Sets(data)
    names = " and ".join(given)
    if isinstance(data, Streamed):
        instead = " and ".join(name.replace("split", "data") for name in given)
        raise ValueError(f"{names}: data that are streamed cannot be split; pass {instead}")
    rows = len(jax.tree.leaves(data.y)[0])
    held = {
        name: rows - int(rows * (1 - share)) if 0 < share < 1 else 0
        for name, share in given.items()
    }
    kept = rows - sum(held.values())
    if sum(given.values()) >= 1 or kept < 1 or 0 in held.values():
        shares = " and ".join(repr(share) for share in given.values())
        raise ValueError(
            f"{names}: {shares} of {rows} rows leaves nothing for one of the sets; expected "
            "fractions above 0 whose sum is below 1"
        )
    tested = rows - held.get("test_split", 0)

    def part(first: int, end: int, names: Names) -> InMemory | None:
        if first == end:
            return None
        x, y, sample_weight = jax.tree.map(
            lambda leaf: leaf[first:end], (data.x, data.y, data.sample_weight)
        )
        return InMemory(x, y, sample_weight, names)

    training = part(0, kept, data.names)
    assert training is not None
    return Sets(training, part(kept, tested, VALIDATION), part(tested, rows, TEST))


class Apart(NamedTuple):
    """What a caller gave to validate and to test on, beside the rows to train on."""

    validation_split: float
    validation_data: PyTree
    test_split: float
    test_data: PyTree


def sets_of(
    x: PyTree, y: PyTree, sample_weight: PyTree, supervision: Supervision, apart: Apart
) -> Sets:
    """The data of a fit, as Keras' ``fit`` takes them: of arrays, ``validation_split`` has no
    effect beside ``validation_data``.

    Raises:
        TypeError, ValueError: they do not fit the model or one another.
    """
    if apart.test_split and apart.test_data is not None:
        raise ValueError("test_split: there are test_data already; pass one of them")
    data = training_data(x, y, sample_weight, supervision)
    unused = apart.validation_data is not None and not isinstance(data, Streamed)
    shares = 0.0 if unused else apart.validation_split, apart.test_split
    sets = split(data, *shares)
    if supervision.class_weight is not None and any(shares):  # which is for training alone
        plain = training_data(x, y, sample_weight, supervision.without_classes())
        sets = split(plain, *shares)._replace(training=sets.training)
    if apart.validation_data is not None:
        held_out = held_out_data(apart.validation_data, supervision, VALIDATION)
        sets = sets._replace(validation=held_out)
    if apart.test_data is not None:
        sets = sets._replace(test=held_out_data(apart.test_data, supervision, TEST))
    return sets
