"""Solvers of the damped normal equations (JᵀJ + λD) step = -gradient behind one contract."""

from lmjax.linear_solvers.base import LinearSolver
from lmjax.linear_solvers.cholesky import Cholesky

__all__ = ["Cholesky", "LinearSolver"]
