"""The first batches of a collection, where a caller says how many make an epoch; and the numbers of
epochs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from lmjax._src.arrays import arguments
from lmjax._src.typing import PyTree


def first_batches(batches: PyTree, steps: Any, argument: str) -> PyTree:
    """The first ``steps`` of a collection of ``batches``, which may have no end, as a collection
    that can be read again and again; None for ``steps`` leaves it as it is.

    Levenberg-Marquardt reads the same rows several times for one step. A generator is read once,
    and its batches are kept in memory.

    Raises:
        ValueError: ``steps``, which is called ``argument``, is no number of batches, or is missing
            for a generator.
    """
    if steps is None:
        if isinstance(batches, Iterator):
            raise ValueError(
                f"{argument}: a generator is read once, and its batches are kept in memory; pass "
                f"{argument}= the number of batches to take, or in place of the generator the "
                "function that makes it, which is called for every pass over the data"
            )
        return batches
    steps = arguments.whole_number(steps, argument, 1)
    if callable(getattr(batches, "take", None)):  # a tf.data.Dataset
        return batches.take(steps)
    if isinstance(batches, Iterator):
        # Copies: a generator may fill the same arrays again for its next batch.
        return [jax.tree.map(np.array, tuple(batch)) for batch in itertools.islice(batches, steps)]
    if hasattr(batches, "__getitem__") and callable(getattr(batches, "on_epoch_end", None)):
        known = getattr(batches, "num_batches", None) if hasattr(batches, "num_batches") else None
        count = steps if hasattr(batches, "num_batches") and known is None else len(batches)
        return _First(lambda: (batches[place] for place in range(min(count, steps))), steps)
    return _First(batches if callable(batches) else lambda: iter(batches), steps)


def epochs_counted_from(frequency: Any, first: int, last: int) -> Any:
    """``validation_freq`` for a run whose first epoch has the number ``first``: as in Keras, it is
    about the numbers of the epochs.
    """
    if not first:
        return frequency
    if isinstance(frequency, Collection):
        numbers = [arguments.whole_number(number, "validation_freq", 1) for number in frequency]
    else:
        every = arguments.whole_number(frequency, "validation_freq", 1)
        numbers = list(range(every, last + 1, every))
    return [number - first for number in numbers if number > first]


class _First:
    """So many of what ``make()`` gives, as often as it is asked for."""

    def __init__(self, make: Callable[[], Iterable[PyTree]], steps: int) -> None:
        self._make, self._steps = make, steps

    def __iter__(self) -> Iterator[PyTree]:
        return itertools.islice(iter(self._make()), self._steps)
