"""The metrics that a model was compiled with, by Keras' own code: ``model.evaluate`` on the data of
a fit, with the weights that the model has.
"""

from __future__ import annotations

import time
from typing import Any

from bridge._src.training.streams import ModelSource
from bridge._src.typing import KerasModel
from lmjax._src.runtime.user_warnings import warn
from lmjax._src.training.data import Data, InMemory
from lmjax._src.typing import PyTree

#: Rows that Keras takes at once.
_ROWS = 1024
#: Said aloud when metrics have taken so many seconds, and most of the time.
_MUCH = 5.0


def as_keras_takes(data: Data, y: PyTree, sample_weight: PyTree) -> Data:
    """``data`` of a model with several outputs with the targets and weights as they were given."""
    if isinstance(data, InMemory):
        return data._replace(y=y, sample_weight=sample_weight)
    source = data.source
    return data._replace(source=source.source if isinstance(source, ModelSource) else source)


class Evaluation:
    """Metrics on training and validation data.

    Args:
        model: the compiled model.
        data: to train on, with the weights of classes in those of samples.
        held_out: to validate on, or None.
        rows: in a batch; None for a number that suits.
        every: every so many epochs they are computed.
    """

    def __init__(
        self,
        model: KerasModel,
        data: Data,
        held_out: Data | None,
        rows: int | None,
        every: int,
    ) -> None:
        self._model, self._data, self._held_out = model, data, held_out
        self._rows, self._every = rows or _ROWS, every
        self._took, self._begin = 0.0, time.perf_counter()
        self._said = False

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

    def _evaluated(self, data: Data, **options: Any) -> dict[str, float]:
        start = time.perf_counter()
        if isinstance(data, InMemory):
            options |= {"y": data.y, "sample_weight": data.sample_weight, "batch_size": self._rows}
            x = data.x
        else:
            x = (piece if piece[2] is not None else piece[:2] for piece in data.source.pieces())
        logs = self._model.evaluate(x, verbose=0, return_dict=True, **options)
        end = time.perf_counter()
        self._took += end - start
        if not self._said and self._took > max(_MUCH, (end - self._begin) / 2):
            self._said = True
            warn(
                f"the metrics of compile() take {self._took / (end - self._begin):.0%} of the "
                "time of this fit; metrics_every=10 computes them every tenth epoch only",
                UserWarning,
            )
        return {name: float(value) for name, value in logs.items() if name != "loss"}
