"""Levenberg-Marquardt training in JAX: nonlinear least squares and supervised fits of pure functions."""

from lmjax.complaints import ConvergenceWarning
from lmjax.curve_fitting import curve_fit
from lmjax.damping import Multiplicative, Nielsen
from lmjax.linear_solvers import QR, Auto, Cholesky, ConjugateGradients, DualCholesky
from lmjax.multi_starting import RankedSolutions, multi_start
from lmjax.robust import Cauchy, Huber, SoftL1, Tukey
from lmjax.scaling import IdentityScaling, JacobianDiagonal, RunningMaximum
from lmjax.solution import Solution
from lmjax.solver import LevenbergMarquardt
from lmjax.solving import least_squares
from lmjax.status import Status
from lmjax.trainer import Trainer
from lmjax.training import FitResult, fit
from lmjax.trust_region import TrustRegion

__all__ = [
    "QR",
    "Auto",
    "Cauchy",
    "Cholesky",
    "ConjugateGradients",
    "ConvergenceWarning",
    "DualCholesky",
    "FitResult",
    "Huber",
    "IdentityScaling",
    "JacobianDiagonal",
    "LevenbergMarquardt",
    "Multiplicative",
    "Nielsen",
    "RankedSolutions",
    "RunningMaximum",
    "SoftL1",
    "Solution",
    "Status",
    "Trainer",
    "TrustRegion",
    "Tukey",
    "curve_fit",
    "fit",
    "least_squares",
    "multi_start",
]
