"""Data that a fit reads in pieces, in the form in which Keras users have it, for the converted model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bridge.graph import InputSpec
from bridge.inputs import in_order
from lmjax.streaming import Source, find_source
from lmjax.streaming.sources import Piece


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """A source whose inputs come without names, in the model's order, and whose weights include those of the classes."""

    source: Source
    inputs: Sequence[InputSpec]
    weigh: Callable[[Any, Any], Any]  #: (targets, sample weights or None) to sample weights or None

    def pieces(self) -> Iterator[Piece]:
        """See :class:`lmjax.streaming.Source`."""
        for x, y, sample_weight in self.source.pieces():
            yield in_order(x, self.inputs), y, self.weigh(y, sample_weight)


def model_source(
    x: Any, y: Any, sample_weight: Any, inputs: Sequence[InputSpec], weigh: Callable[[Any, Any], Any], name: str = "x"
) -> ModelSource | None:
    """The data for a model with these ``inputs``, if :func:`lmjax.streaming.find_source` says that they are to be streamed."""
    source = find_source(x, y, sample_weight, name)
    return None if source is None else ModelSource(source, inputs, weigh)
