"""The protocols behind lmjax' options: what an object of one's own has to offer to be used like
ours.

A class that inherits from a protocol has its defaults; one that does not writes all of its methods.
Each is checked where it is passed, and what is missing is named.
"""

from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.levenberg_marquardt.damping import DampingRule, DampingState
from lmjax._src.levenberg_marquardt.scaling import Scaling
from lmjax._src.linear_solvers.base import LinearSolver, LinearSolverChoice
from lmjax._src.objectives.curvature import Curvature, Form
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.offset import Offset
from lmjax._src.objectives.losses.step_weights import ByStep
from lmjax._src.objectives.objective import Objective
from lmjax._src.objectives.robust import RobustLoss, robust_loss

__all__ = [
    "ByStep",
    "Curvature",
    "DampingRule",
    "DampingState",
    "FeasibleSet",
    "Form",
    "Gradient",
    "LinearSolver",
    "LinearSolverChoice",
    "Linearization",
    "Loss",
    "Objective",
    "Offset",
    "RobustLoss",
    "Scaling",
    "robust_loss",
]
