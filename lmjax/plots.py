"""Pictures of fits, with Matplotlib (``pip install 'lmjax[plot]'``): the curves of a training, and
what a model says beside what it should say. Arrays in, Axes out.
"""

from lmjax._src.plots.histogram import error_histogram
from lmjax._src.plots.scatter import parity, residuals
from lmjax._src.plots.training_curves import training_curves

__all__ = ["error_histogram", "parity", "residuals", "training_curves"]
