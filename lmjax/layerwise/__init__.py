"""J Jᵀ of a model from the structure that its jaxpr shows, without forming J."""

from lmjax.layerwise.dual import LayerwiseDual, leafwise_diagonal
from lmjax.layerwise.grams import gram_matrices, gram_operations
from lmjax.layerwise.meetings import Meeting, find_meetings, follow

__all__ = ["LayerwiseDual", "Meeting", "find_meetings", "follow", "gram_matrices", "gram_operations", "leafwise_diagonal"]
