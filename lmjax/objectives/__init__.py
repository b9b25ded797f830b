"""The costs that LM lowers: a residual function, or a model with a loss over rows of data."""

from lmjax.objectives.residuals import ResidualObjective
from lmjax.objectives.sampled import SampledObjective
from lmjax.objectives.supervised import SupervisedObjective

__all__ = ["ResidualObjective", "SampledObjective", "SupervisedObjective"]
