"""Curve fits that people asked for help with, and physics in SI units, with starts and least sums
of squares.

Data, models and starts are those of the threads; where a thread makes its data by random numbers,
ours are made by NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problems import curves_data as data


@dataclass(frozen=True, eq=False)
class Curve:
    name: str
    residual_fn: Callable  #: of (params, *data)
    data: tuple
    start: tuple
    #: The least known sum of squares; None where it is that of the fit from ``truth``
    optimum: float | None
    truth: tuple = ()

    @property
    def floor(self):
        """A sum of squares that is as good as zero: residuals of ten digits of the data, as for the
        problems of MGH.
        """
        return 1e-16 * float(np.sum(np.square(self.data[-1])))


def power_law(p, x, y):
    return p[2] + x ** p[0] * p[1] - y


def two_fold_exponential(p, x, y):
    return jnp.exp(p[0] * jnp.exp(p[1] * x ** p[2])) - y


def decay_to_offset(p, x, y):
    return p[0] * jnp.exp(-p[1] * x) + p[2] - y


def growth_from_offset(p, x, y):
    return p[0] * jnp.exp(p[1] * x) + p[2] - y


def double_exponential(p, x, y):
    return y - p[0] * jnp.exp(-p[2] * x) - p[1] * jnp.exp(-p[3] * x)


def michaelis_menten(p, x, y):
    return y - p[0] * x / (p[1] + x)


def exponential(p, x, y):
    return y - p[0] * jnp.exp(p[1] * x)


def sine(p, x, y):
    return p[0] * jnp.sin(2 * jnp.pi * p[1] * x + p[2]) - y


def lotka_volterra(p, log_populations):
    """By Runge and Kutta's fourth order in twenty steps a year."""
    a, b, c, d = p[:4]

    def rates(z):
        return jnp.stack([(a - b * z[1]) * z[0], (d * z[0] - c) * z[1]])

    def step(z, _):
        h = 1 / 20
        k1 = rates(z)
        k2 = rates(z + h / 2 * k1)
        k3 = rates(z + h / 2 * k2)
        k4 = rates(z + h * k3)
        return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    def year(z, _):
        following = jax.lax.scan(step, z, None, 20)[0]
        return following, following

    later = jax.lax.scan(year, p[4:], None, len(log_populations) - 1)[1]
    return jnp.log(jnp.concatenate([p[None, 4:], later])) - log_populations


FORUMS = (
    Curve("power law", power_law, data.POWER_LAW, (1.0, 1.0, 1.0), 0.4489438967882694),
    Curve(
        "two-fold exponential",
        two_fold_exponential,
        data.TWO_FOLD,
        (3.82, 0.02, 0.01),
        686.780280639896,
    ),
    Curve("saturation", decay_to_offset, data.SATURATION, (1.0, 1.0, 1.0), 1.0847383091282676e-5),
    Curve("slow decay", decay_to_offset, data.SLOW_DECAY, (1.0, 1.0, 1.0), 67.33275066245236),
    Curve(
        "slow decay, a closer start",
        decay_to_offset,
        data.SLOW_DECAY,
        (100.0, 1e-3, 1.0),
        67.33275066245236,
    ),
    Curve(
        "late growth", growth_from_offset, data.LATE_GROWTH, (1e-3, 0.1, 50.0), 2243.1635620726397
    ),
    Curve(
        "double exponential",
        double_exponential,
        data.DOUBLE_EXPONENTIAL,
        (1.0, -1.0, 1.0, 2.0),
        0.009999952966923976,
    ),
    Curve(
        "double exponential from ones",
        double_exponential,
        data.DOUBLE_EXPONENTIAL,
        (1.0,) * 4,
        0.009999952966923976,
    ),
    Curve("enzyme", michaelis_menten, data.ENZYME, (0.1, 0.1), 0.007844005751770024),
    Curve("growth from below", exponential, data.GROWTH, (1.0, -8.0), 0.0),
    Curve("growth from above", exponential, data.GROWTH, (1.0, 3.0), 0.0),
    Curve(
        "lynx and hares",
        lotka_volterra,
        data.LYNX_AND_HARES,
        (0.5, 0.02, 0.8, 0.02, 30.0, 4.0),
        2.018661195528365,
    ),
)


def lennard_jones(p, r, y):
    return 4 * p[0] * ((p[1] / r) ** 12 - (p[1] / r) ** 6) - y


def morse(p, r, y):
    return p[0] * (1 - jnp.exp(-p[1] * (r - p[2]))) ** 2 - y


def discharge(p, t, y):
    return p[0] * jnp.exp(-t / p[1]) - y


def absorption(p, wavelength, y):
    return p[0] * jnp.exp(-(((wavelength - p[1]) / p[2]) ** 2)) - y


def ring_down(p, t, y):
    return p[0] * jnp.exp(-t / p[3]) * jnp.sin(2 * jnp.pi * p[1] * t + p[2]) - y


def photoelectric(p, frequency, y):
    return p[0] * frequency - p[1] - y


def _observed(name, residual_fn, x, start, truth, noise):
    """A curve with NumPy's noise, whose least sum of squares is that of the fit from the truth."""
    with jax.enable_x64(True):
        exact = np.asarray(residual_fn(np.array(truth), x, np.zeros_like(x)))
    y = exact + noise * np.random.default_rng(crc32(name.encode())).normal(size=x.size)
    return Curve(name, residual_fn, (x, y), start, None, truth)


@cache
def units():
    """Of physics in SI units: energies of 1e-21, lengths of 1e-10, strains, charges,
    cross-sections.
    """
    return (
        _observed(
            "Lennard-Jones",
            lennard_jones,
            np.linspace(3.3e-10, 8e-10, 30),
            (1e-21, 3e-10),
            (1.65e-21, 3.4e-10),
            2e-23,
        ),
        _observed(
            "Morse",
            morse,
            np.linspace(0.9e-10, 3e-10, 30),
            (5e-19, 1.5e10, 1.2e-10),
            (7.3e-19, 1.9e10, 1.27e-10),
            3e-21,
        ),
        _observed(
            "discharge",
            discharge,
            np.linspace(0, 1e-6, 50),
            (1e-18, 1e-7),
            (6.4e-18, 2.5e-7),
            1e-20,
        ),
        _observed(
            "absorption",
            absorption,
            np.linspace(300e-9, 340e-9, 40),
            (1e-24, 320e-9, 5e-9),
            (3.2e-24, 318e-9, 8e-9),
            1e-25,
        ),
        _observed(
            "ring-down",
            ring_down,
            np.linspace(0, 0.05, 200),
            (8e-22, 145.0, 0.0, 0.01),
            (1e-21, 150.0, 0.3, 0.012),
            5e-23,
        ),
        _observed(
            "photoelectric",
            photoelectric,
            data.FREQUENCIES,
            (1e-34, 1e-19),
            (6.626e-34, 3e-19),
            1e-21,
        ),
    )


#: SciPy's issue 15148, in which least_squares' default stops beside the solution that leastsq
#: finds.
SINE_X, SINE_START, SINE_TRUTH, SINE_NOISE = (
    np.linspace(0, -2 * np.pi, 100),
    (7.0, 0.2, 0.0),
    (10.0, 0.34, np.pi / 6),
    2.0,
)


def sine_with_noise(seed):
    """The sine with other noise for each seed."""
    exact = SINE_TRUTH[0] * np.sin(2 * np.pi * SINE_TRUTH[1] * SINE_X + SINE_TRUTH[2])
    y = exact + SINE_NOISE * np.random.default_rng(seed).normal(size=SINE_X.size)
    return Curve(f"sine {seed}", sine, (SINE_X, y), SINE_START, None, SINE_TRUTH)
