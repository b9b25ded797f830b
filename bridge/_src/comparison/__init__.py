"""Levenberg-Marquardt, Adam and L-BFGS on one model and its data, in the same seconds."""
