"""Rows at random by their weights, none twice, from data that are seen once, piece by piece.

Each row gets a key; the rows with the largest keys are the sample. Source: P. S. Efraimidis,
P. G. Spirakis, "Weighted random sampling with a reservoir", Inf. Process. Lett. 97, 2006.
"""

from __future__ import annotations

import numpy as np

from lmjax._src.objectives.losses.step_weights import evened
from lmjax._src.typing import NumpyArray


def draw_keys(random: np.random.Generator, weights: NumpyArray) -> NumpyArray:
    """A key for each row, (N,), for positive ``weights`` (N,)."""
    return np.asarray(np.log(random.random(len(weights))) / weights)


def largest(keys: NumpyArray, size: int) -> NumpyArray:
    """The numbers of the ``size`` largest keys, in no order; of all if there are not so many."""
    return np.argpartition(keys, -size)[-size:] if len(keys) > size else np.arange(len(keys))


def weights_of_drawn(
    weights: NumpyArray, num_influential: int, num_rows: int, mean: float
) -> NumpyArray:
    """The ``weights`` of rows that were drawn, (k,) or (k, *steps), as a sample whose mean stands
    for that over all ``num_rows`` rows, of which ``num_influential`` have some weight: one for all
    of them, the ``mean`` of all rows, or their own where none was left out.
    """
    if num_influential <= len(weights):
        return weights * np.asarray(len(weights) / num_rows, weights.dtype)
    return np.asarray(evened(weights, mean))
