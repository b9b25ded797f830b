"""The data of a fit, once it is known whether they are in memory or read in pieces: asked once, at
the door of a fit; from there it is a type.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from lmjax._src.training.streaming.sources import Source, find_source
from lmjax._src.typing import PyTree

#: What messages call x, y and the weights.
Names = tuple[str, str, str]
TRAINING: Names = ("x", "y", "sample_weight")
VALIDATION: Names = ("validation x", "validation y", "validation sample_weight")
#: A collection of batches has one name for all parts.
VALIDATION_BATCHES: Names = ("validation_data",) * 3


class InMemory(NamedTuple):
    """Arrays, or trees of them; weights or None."""

    x: PyTree
    y: PyTree
    sample_weight: PyTree = None
    names: Names = TRAINING


class Streamed(NamedTuple):
    """Rows that are read again and again."""

    source: Source
    names: Names = TRAINING


Data = InMemory | Streamed


def data_of(
    x: PyTree, y: PyTree = None, sample_weight: PyTree = None, names: Names = TRAINING
) -> Data:
    """What a caller gave as data; raises as
    :func:`~lmjax._src.training.streaming.sources.find_source` does.
    """
    source = find_source(x, y, sample_weight, names[0])
    return InMemory(x, y, sample_weight, names) if source is None else Streamed(source, names)


def validation_data_of(given: PyTree) -> Data:
    """What a caller gave as ``validation_data``: (x, y), with weights or not, or a collection of
    batches.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(given, Data):
        return given
    batches = isinstance(given, (tuple, list)) and all(isinstance(part, tuple) for part in given)
    if isinstance(given, (tuple, list)) and len(given) in (2, 3) and not batches:
        x, y, sample_weight = (*given, None)[:3]
        return data_of(x, y, sample_weight, VALIDATION)
    if isinstance(given, (tuple, list, np.ndarray, jax.Array)) and not batches:
        raise ValueError(
            "validation_data: expected (x, y), (x, y, sample_weight) or a collection of batches"
        )
    return data_of(given, names=VALIDATION_BATCHES)
