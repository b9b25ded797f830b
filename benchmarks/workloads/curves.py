"""Small curve fits: one of NIST's, and thousands of peaks."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Curves:
    """Curves at the same abscissae x (m,), one set of ordinates y (n, m) for each, all fitted from
    one start (P,).
    """

    model: str  #: an expression in x, p and exp
    x: np.ndarray
    y: np.ndarray
    start: np.ndarray


def peaks(count: int = 5000) -> Curves:
    """Gaussian peaks on a constant, 64 points with noise: height 1-5, centre ±2, width 0.4-1.5."""
    random = np.random.default_rng(0)
    x = np.linspace(-5, 5, 64)
    height, centre = random.uniform(1, 5, (count, 1)), random.uniform(-2, 2, (count, 1))
    width, base = random.uniform(0.4, 1.5, (count, 1)), random.uniform(-0.5, 0.5, (count, 1))
    y = (
        height * np.exp(-0.5 * ((x - centre) / width) ** 2)
        + base
        + 0.05 * random.normal(size=(count, x.size))
    )
    return Curves(
        "p[0] * exp(-0.5 * ((x - p[1]) / p[2]) ** 2) + p[3]", x, y, np.array([1.0, 0.0, 1.0, 0.0])
    )


def misra1a() -> Curves:
    """NIST's Misra1a (public domain), second start: 14 points, 2 parameters."""
    x = np.array(
        [
            77.6,
            114.9,
            141.1,
            190.8,
            239.9,
            289.0,
            332.8,
            378.4,
            434.8,
            477.3,
            536.8,
            593.1,
            689.1,
            760.0,
        ]
    )
    y = np.array(
        [
            10.07,
            14.73,
            17.94,
            23.93,
            29.61,
            35.18,
            40.02,
            44.82,
            50.76,
            55.05,
            61.01,
            66.4,
            75.47,
            81.78,
        ]
    )
    return Curves("p[0] * (1 - exp(-p[1] * x))", x, y[None], np.array([250.0, 5e-4]))
