"""The protocols behind lmjax' options: what an object of one's own has to offer to be used like
ours.
"""

from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.levenberg_marquardt.damping import DampingRule, DampingState
from lmjax._src.levenberg_marquardt.scaling import Scaling
from lmjax._src.linear_solvers.base import LinearSolver
from lmjax._src.objectives.curvature import Curvature, Form
from lmjax._src.objectives.linearization import Gradient, Linearization, Objective
from lmjax._src.objectives.losses import Loss
from lmjax._src.objectives.robust import RobustLoss

__all__ = [
    "Curvature",
    "DampingRule",
    "DampingState",
    "FeasibleSet",
    "Form",
    "Gradient",
    "LinearSolver",
    "Linearization",
    "Loss",
    "Objective",
    "RobustLoss",
    "Scaling",
]
