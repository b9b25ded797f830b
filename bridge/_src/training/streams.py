"""Data that a fit reads in pieces, in the form in which Keras users have it, for the converted
model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bridge._src.description.inputs import in_order
from bridge._src.training.outputs.supervision import Supervision
from lmjax._src.training.streaming.sources import Piece, Source


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """A source whose inputs come without names, in the model's order, targets and weights as
    :class:`Supervision` has them.
    """

    source: Source
    supervision: Supervision
    names: tuple[str, str, str]  #: what x, y and the weights are called in messages

    def pieces(self) -> Iterator[Piece]:
        """See :class:`lmjax._src.training.streaming.sources.Source`."""
        _, y_name, weight_name = self.names
        for x, y, sample_weight in self.source.pieces():
            targets = self.supervision.targets(y, y_name)
            weights = self.supervision.weights(targets, sample_weight, weight_name)
            yield in_order(x, self.supervision.module.inputs), targets, weights
