"""Solvers of the damped normal equations (JᵀJ + λD) step = -gradient behind one contract."""

from lmjax.linear_solvers.auto import Auto, Chosen
from lmjax.linear_solvers.base import LinearSolver
from lmjax.linear_solvers.cholesky import Cholesky
from lmjax.linear_solvers.conjugate_gradients import ConjugateGradients
from lmjax.linear_solvers.dual_cholesky import DualCholesky
from lmjax.linear_solvers.qr import QR

__all__ = ["QR", "Auto", "Cholesky", "Chosen", "ConjugateGradients", "DualCholesky", "LinearSolver"]
