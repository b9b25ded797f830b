"""J Jᵀ and JᵀJ of a model from the structure that its jaxpr shows, without forming J."""

from lmjax.layerwise.dual import LayerwiseDual, mean_diagonal
from lmjax.layerwise.grams import GramCost, gram_cost, gram_matrices
from lmjax.layerwise.meetings import find_meetings, follow
from lmjax.layerwise.normal import Blocks, NormalPlan, assembled, normal_sums, plan_normal
from lmjax.layerwise.rules import Meeting

__all__ = [
    "Blocks",
    "GramCost",
    "LayerwiseDual",
    "Meeting",
    "NormalPlan",
    "assembled",
    "find_meetings",
    "follow",
    "gram_cost",
    "gram_matrices",
    "mean_diagonal",
    "normal_sums",
    "plan_normal",
]
