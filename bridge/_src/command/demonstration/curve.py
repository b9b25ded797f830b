"""A curve with certified answers: NIST's Thurber, seven parameters of a rational function."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np

import lmjax
from lmjax._src.typing import Array


def thurber() -> dict[str, Any]:
    """Data, start and certified values, as NIST published them."""
    content: dict[str, Any] = json.loads(
        files("bridge._src.command.demonstration")
        .joinpath("thurber.json")
        .read_text(encoding="utf-8")
    )
    return content


def residuals(b: Array, x: Array, y: Array) -> Array:
    """Model minus data, shape (37,)."""
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (
        1 + b[4] * x + b[5] * x**2 + b[6] * x**3
    ) - y


def certified_digits(values: Array, certified: Array) -> np.ndarray:
    """How many digits agree, -log10 of the relative error, at most the 11 that NIST gives."""
    error = np.abs(np.asarray(values) - certified) / np.abs(certified)
    digits: np.ndarray = np.minimum(-np.log10(np.maximum(error, 1e-11)), 11)
    return digits


def fit() -> tuple[lmjax.Solution, dict[str, Any]]:
    """The fit from NIST's first, distant start."""
    problem = thurber()
    data = np.array(problem["x"]), np.array(problem["y"])
    return lmjax.least_squares(residuals, np.array(problem["start"]), data), problem
