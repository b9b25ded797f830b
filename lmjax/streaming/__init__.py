"""Fits to data that is not in memory: read in pieces, summed over chunks."""

from lmjax.streaming.objective import StreamedObjective
from lmjax.streaming.sources import ArraySource, BatchSource, Source, find_source
from lmjax.streaming.stream import Stream

__all__ = ["ArraySource", "BatchSource", "Source", "Stream", "StreamedObjective", "find_source"]
