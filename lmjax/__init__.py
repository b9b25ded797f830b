"""Levenberg-Marquardt training in JAX: nonlinear least squares and supervised fits of pure
functions.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lmjax import extend, losses, plots
from lmjax._src.least_squares.curve_fit import curve_fit
from lmjax._src.least_squares.intervals.bootstrapped import Bootstrap
from lmjax._src.least_squares.intervals.contour import Contour
from lmjax._src.least_squares.least_squares import least_squares
from lmjax._src.least_squares.multi_start import multi_start
from lmjax._src.least_squares.ranked_solutions import RankedSolutions
from lmjax._src.least_squares.solution import Solution
from lmjax._src.levenberg_marquardt.damping import Multiplicative, Nielsen
from lmjax._src.levenberg_marquardt.scaling import (
    IdentityScaling,
    JacobianDiagonal,
    RunningMaximum,
)
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.status import ConvergenceWarning, Status
from lmjax._src.levenberg_marquardt.trust_region import TrustRegion
from lmjax._src.linear_solvers.auto import Auto
from lmjax._src.linear_solvers.cholesky import Cholesky
from lmjax._src.linear_solvers.conjugate_gradients import ConjugateGradients
from lmjax._src.linear_solvers.dual_cholesky import DualCholesky
from lmjax._src.linear_solvers.qr import QR
from lmjax._src.objectives.robust import Cauchy, Huber, SoftL1, Tukey
from lmjax._src.training.bayesian.mixture import Mixture
from lmjax._src.training.bayesian.posterior import Posterior
from lmjax._src.training.bayesian.request import Bayesian
from lmjax._src.training.fit import fit
from lmjax._src.training.fit_result import FitResult
from lmjax._src.training.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "QR",
    "Auto",
    "Bayesian",
    "Bootstrap",
    "Cauchy",
    "Cholesky",
    "ConjugateGradients",
    "Contour",
    "ConvergenceWarning",
    "DualCholesky",
    "FitResult",
    "Huber",
    "IdentityScaling",
    "JacobianDiagonal",
    "LevenbergMarquardt",
    "Mixture",
    "Multiplicative",
    "Nielsen",
    "Posterior",
    "RankedSolutions",
    "RunningMaximum",
    "SoftL1",
    "Solution",
    "Status",
    "Trainer",
    "TrustRegion",
    "Tukey",
    "curve_fit",
    "extend",
    "fit",
    "least_squares",
    "losses",
    "multi_start",
    "plots",
]

#: Modules that need packages beside JAX, which are these; they are loaded when they are asked for.
_OPTIONAL = {"keras": "flax", "optax": "optax", "sklearn": "sklearn"}


def __getattr__(name: str) -> Any:
    if name in _OPTIONAL:
        return import_module(f"lmjax.{name}")
    raise AttributeError(f"module 'lmjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    # Whoever goes through the names, as help() does, asks for each.
    loadable = [name for name, package in _OPTIONAL.items() if find_spec(package) is not None]
    return sorted(["__doc__", "__version__", *__all__, *loadable])
