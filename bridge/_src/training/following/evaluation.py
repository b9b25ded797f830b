"""The metrics that a model was compiled with, by Keras' own code: ``model.evaluate`` on the data of
a fit, with the weights that the model has.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from bridge._src.training.outputs.supervision import Supervision
from bridge._src.typing import KerasModel
from lmjax._src.plots.names import OF_STEPS
from lmjax._src.runtime.user_warnings import warn
from lmjax._src.training.data import Data, InMemory
from lmjax._src.training.streaming.sources import Source
from lmjax._src.typing import Array, PyTree

#: Rows that Keras takes at once.
_ROWS = 1024
#: Evaluations that are compiled: of the data to train and to validate on.
_COMPILED = 2
#: Names in the history that are no metrics'.
_TAKEN = dict.fromkeys(OF_STEPS, "what it tells of steps") | {
    "loss": "the loss",
    "val_loss": "the validation loss",
    "seconds": "the time since the start",
}
#: Said aloud when metrics have taken so many seconds, and most of the time.
_MUCH = 5.0


def check_names(metrics: Sequence[str]) -> None:
    """Refuses metrics that are called as something else in the history is.

    Raises:
        ValueError: there is one.
    """
    for name in metrics:
        if name in _TAKEN:
            raise ValueError(
                f"metrics: one is called {name!r}, as {_TAKEN[name]} of the history is; compile "
                "the model with another name for it"
            )


class Evaluation:
    """Metrics on training and validation data.

    Args:
        model: the compiled model.
        supervision: what its targets and weights mean.
        data: to train on, with the weights of classes in those of samples.
        held_out: to validate on, or None.
        rows: in a batch; None for a number that suits.
        every: every so many epochs they are computed.
    """

    def __init__(
        self,
        model: KerasModel,
        supervision: Supervision,
        data: Data,
        held_out: Data | None,
        rows: int | None,
        every: int,
    ) -> None:
        self._model, self._supervision = model, supervision
        self._data, self._held_out = data, held_out
        self._rows, self._every = rows or _ROWS, every
        #: Seconds of the evaluations but the first ones, which Keras compiles, and since those.
        self._took, self._begin = 0.0, math.inf
        self._said = False
        self._evaluations = 0
        self._counts: dict[int, int] = {}  #: pieces of streamed data

    def is_due(self, epoch: int) -> bool:
        """Whether metrics are computed after epoch number ``epoch``, from 0."""
        return (epoch + 1) % self._every == 0

    def training(self) -> dict[str, float]:
        """Metrics by Keras' names, on the data to train on."""
        return self._evaluated(self._data)

    def validation(self, callbacks: Any) -> dict[str, float]:
        """Metrics by Keras' names, on the data to validate on; ``callbacks`` follow it."""
        assert self._held_out is not None
        found = self._evaluated(self._held_out, callbacks=callbacks)
        return {f"val_{name}": value for name, value in found.items()}

    def test(self, data: Data) -> dict[str, float]:
        """Metrics by Keras' names, on ``data`` that are looked at once."""
        return self._evaluated(data)

    def _evaluated(self, data: Data, **options: Any) -> dict[str, float]:
        start = time.perf_counter()
        if isinstance(data, InMemory):
            y, weights = self._supervision.for_keras(data.y, data.sample_weight)
            options |= {"y": y, "sample_weight": weights, "batch_size": self._rows}
            x = data.x
        else:
            x = self._pieces(data.source)
            # Without a number Keras warns that the data have come to an end.
            if id(data) not in self._counts:
                self._counts[id(data)] = sum(1 for _ in data.source.pieces())
            options["steps"] = self._counts[id(data)]
        logs = self._model.evaluate(x, verbose=0, return_dict=True, **options)
        self._reckon(start, time.perf_counter())
        return {name: float(value) for name, value in logs.items() if name != "loss"}

    def _reckon(self, start: float, end: float) -> None:
        """Says it if evaluations, of which one took from ``start`` to ``end``, take long."""
        self._evaluations += 1
        if self._evaluations <= _COMPILED:
            self._begin = end
            return
        self._took += end - start
        if not self._said and self._took > max(_MUCH, (end - self._begin) / 2):
            self._said = True
            warn(
                f"the metrics of compile() take {self._took / (end - self._begin):.0%} of the "
                "time of this fit; metrics_every=10 computes them every tenth epoch only",
                UserWarning,
            )

    def _pieces(self, source: Source) -> Iterator[tuple[PyTree, ...]]:
        first: list[Any] = []
        for x, targets, given in source.pieces():
            y, weights = self._supervision.for_keras(targets, given)
            # Keras wants the same number of axes in every batch.
            first = first or jax.tree.leaves(y)
            leaves, structure = jax.tree.flatten(y)
            y = jax.tree.unflatten(
                structure, [_with_axes(*pair) for pair in zip(leaves, first, strict=True)]
            )
            x = tuple(x) if isinstance(x, list) else x  # as TensorFlow's data sets want it
            yield (x, y) if weights is None else (x, y, weights)


def _with_axes(targets: Array, like: Array) -> Array:
    """(N,) for (N, 1), or the other way round, if ``like`` is such."""
    if targets.ndim == like.ndim + 1 and targets.shape[-1] == 1:
        return targets[..., 0]
    return targets[..., None] if targets.ndim + 1 == like.ndim else targets
