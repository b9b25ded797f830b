"""Solvers of the damped normal equations (JᵀJ + λD) step = -gradient behind one contract."""
