"""J Jᵀ of a model from the structure that its jaxpr shows, without forming J."""

from lmjax.layerwise.grams import gram_matrices
from lmjax.layerwise.meetings import Meeting, find_meetings, follow

__all__ = ["Meeting", "find_meetings", "follow", "gram_matrices"]
