"""Data that a fit reads in pieces, in the form in which Keras users have it, for the converted
model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from bridge._src.description.inputs import in_order
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.training.targets import of_one_output
from lmjax._src.training.streaming.sources import Piece, Source
from lmjax._src.typing import PyTree


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """A source whose inputs come without names, in the model's order, targets too, and whose
    weights include those of the classes.
    """

    source: Source
    module: KerasGraph
    weigh: Callable[
        [PyTree, PyTree], PyTree
    ]  #: (targets, sample weights or None) to sample weights or None

    def pieces(self) -> Iterator[Piece]:
        """See :class:`lmjax._src.training.streaming.sources.Source`."""
        for x, y, sample_weight in self.source.pieces():
            targets = of_one_output(y, self.module, "y")
            weights = of_one_output(sample_weight, self.module, "sample_weight")
            yield in_order(x, self.module.inputs), targets, self.weigh(targets, weights)
