"""The 35 problems of Moré, Garbow and Hillstrom in 48 sizes, with their standard starts and
best-known optima.

J. J. Moré, B. S. Garbow, K. E. Hillstrom, "Testing unconstrained optimization software", ACM TOMS 7
(1981), 17-41, and Algorithm 566. Numbers, names, data, starts and optima (sums of squares) are
those of the paper; sizes are those of MINPACK's own tests where it has the problem. Where the paper
knows several minima, the lowest is the optimum.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from benchmarks.problems import mgh_data as data


@dataclass(frozen=True)
class MghProblem:
    name: str
    residual_fn: Callable
    standard_start: tuple
    optimum: float  #: the best-known sum of squares

    def start(self, factor):
        """The standard start times ``factor``; a start of zeros becomes ``factor`` itself, as in
        MINPACK's tests.
        """
        start = np.asarray(self.standard_start, float)
        return start * factor if factor == 1 or start.any() else np.full_like(start, factor)

    def is_solved(self, sum_of_squares):
        """Whether a sum of squares is the best known one, in five digits, or zero to ten digits of
        the residuals at most.
        """
        return np.isfinite(sum_of_squares) and sum_of_squares <= self.optimum * (1 + 1e-5) + 1e-16


def rosenbrock(x):
    return jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


def freudenstein_roth(x):
    return jnp.stack(
        [-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1], -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]]
    )


def powell_badly_scaled(x):
    return jnp.stack([1e4 * x[0] * x[1] - 1, jnp.exp(-x[0]) + jnp.exp(-x[1]) - 1.0001])


def brown_badly_scaled(x):
    return jnp.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])


def beale(x):
    return jnp.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** jnp.arange(1, 4))


def jennrich_sampson(x):
    i = jnp.arange(1, 11)
    return 2 + 2 * i - (jnp.exp(i * x[0]) + jnp.exp(i * x[1]))


def helical_valley(x):
    angle = jnp.arctan2(x[1], x[0]) / (2 * jnp.pi)
    # The paper's branch: arctan(x2 / x1) + half a turn for x1 < 0.
    angle = jnp.where((x[0] < 0) & (x[1] < 0), angle + 1, angle)
    return jnp.stack([10 * (x[2] - 10 * angle), 10 * (jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2]])


def bard(x):
    u = jnp.arange(1.0, 16)
    v = 16 - u
    return data.BARD - (x[0] + u / (v * x[1] + jnp.minimum(u, v) * x[2]))


def gaussian(x):
    t = (8 - jnp.arange(1, 16)) / 2
    return x[0] * jnp.exp(-x[1] * (t - x[2]) ** 2 / 2) - data.GAUSSIAN


def meyer(x):
    return x[0] * jnp.exp(x[1] / (45 + 5 * jnp.arange(1, 17) + x[2])) - data.MEYER


def gulf(x):
    t = jnp.arange(1, 100) / 100
    y = 25 + (-50 * jnp.log(t)) ** (2 / 3)
    return jnp.exp(-(jnp.abs(y - x[1]) ** x[2]) / x[0]) - t


def box(x):
    t = 0.1 * jnp.arange(1, 11)
    return jnp.exp(-t * x[0]) - jnp.exp(-t * x[1]) - x[2] * (jnp.exp(-t) - jnp.exp(-10 * t))


def powell_singular(x):
    a, b, c, d = x.reshape(-1, 4).T
    return jnp.stack(
        [a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2]
    ).ravel()


def wood(x):
    a, b, c, d = x
    return jnp.stack(
        [
            10 * (b - a**2),
            1 - a,
            90**0.5 * (d - c**2),
            1 - c,
            10**0.5 * (b + d - 2),
            10**-0.5 * (b - d),
        ]
    )


def kowalik_osborne(x):
    y, u = data.KOWALIK_OSBORNE
    return y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def brown_dennis(x):
    t = jnp.arange(1, 21) / 5
    return (x[0] + t * x[1] - jnp.exp(t)) ** 2 + (x[2] + x[3] * jnp.sin(t) - jnp.cos(t)) ** 2


def osborne_1(x):
    t = 10 * jnp.arange(33)
    return data.OSBORNE_1 - (x[0] + x[1] * jnp.exp(-t * x[3]) + x[2] * jnp.exp(-t * x[4]))


def biggs(x):
    t = 0.1 * jnp.arange(1, 14)
    y = jnp.exp(-t) - 5 * jnp.exp(-10 * t) + 3 * jnp.exp(-4 * t)
    return x[2] * jnp.exp(-t * x[0]) - x[3] * jnp.exp(-t * x[1]) + x[5] * jnp.exp(-t * x[4]) - y


def osborne_2(x):
    t = jnp.arange(65) / 10
    peaks = sum(x[k] * jnp.exp(-((t - x[k + 7]) ** 2) * x[k + 4]) for k in (1, 2, 3))
    return data.OSBORNE_2 - (x[0] * jnp.exp(-t * x[4]) + peaks)


def watson(x):
    t = jnp.arange(1, 30)[:, None] / 29
    j = jnp.arange(x.size)
    slope = (j[1:] * x[1:] * t ** (j[1:] - 1)).sum(axis=1)
    return jnp.concatenate(
        [slope - (x * t**j).sum(axis=1) ** 2 - 1, jnp.stack([x[0], x[1] - x[0] ** 2 - 1])]
    )


def extended_rosenbrock(x):
    return jnp.stack([10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]]).ravel()


def penalty_1(x):
    return jnp.append(1e-5**0.5 * (x - 1), x @ x - 0.25)


def penalty_2(x):
    n, root = x.size, 1e-5**0.5
    i = jnp.arange(2, n + 1)
    y = jnp.exp(i / 10) + jnp.exp((i - 1) / 10)
    first = root * (jnp.exp(x[1:] / 10) + jnp.exp(x[:-1] / 10) - y)
    second = root * (jnp.exp(x[1:] / 10) - jnp.exp(-1 / 10))
    return jnp.concatenate(
        [x[:1] - 0.2, first, second, jnp.atleast_1d(jnp.arange(n, 0, -1) @ x**2 - 1)]
    )


def variably_dimensioned(x):
    total = jnp.arange(1, x.size + 1) @ (x - 1)
    return jnp.concatenate([x - 1, jnp.stack([total, total**2])])


def trigonometric(x):
    i = jnp.arange(1, x.size + 1)
    return x.size - jnp.cos(x).sum() + i * (1 - jnp.cos(x)) - jnp.sin(x)


def brown_almost_linear(x):
    return jnp.append(x[:-1] + x.sum() - (x.size + 1), jnp.prod(x) - 1)


def discrete_boundary_value(x):
    h = 1 / (x.size + 1)
    t = h * jnp.arange(1, x.size + 1)
    wide = jnp.pad(x, 1)
    return 2 * x - wide[:-2] - wide[2:] + h**2 * (x + t + 1) ** 3 / 2


def discrete_integral_equation(x):
    h = 1 / (x.size + 1)
    t = h * jnp.arange(1, x.size + 1)
    cubes = (x + t + 1) ** 3
    before, after = jnp.tril(jnp.outer(1 - t, t)), jnp.triu(jnp.outer(t, 1 - t), 1)
    return x + h / 2 * ((before + after) @ cubes)


def broyden_tridiagonal(x):
    wide = jnp.pad(x, 1)
    return (3 - 2 * x) * x - wide[:-2] - 2 * wide[2:] + 1


def broyden_banded(x):
    i = np.arange(x.size)
    offset = i[None, :] - i[:, None]
    band = jnp.asarray((offset >= -5) & (offset <= 1) & (offset != 0), float)
    return x * (2 + 5 * x**2) + 1 - band @ (x * (1 + x))


def linear_full_rank(m):
    def residuals(x):
        spread = 2 / m * x.sum() + 1
        return jnp.concatenate([x - spread, jnp.broadcast_to(-spread, (m - x.size,))])

    return residuals


def linear_rank_1(m):
    return lambda x: jnp.arange(1, m + 1) * (jnp.arange(1, x.size + 1) @ x) - 1


def linear_rank_1_zeros(m):
    def residuals(x):
        inner = jnp.arange(2, x.size) @ x[1:-1]
        return jnp.concatenate([-jnp.ones(1), jnp.arange(1, m - 1) * inner - 1, -jnp.ones(1)])

    return residuals


def chebyquad(m):
    def residuals(x):
        means, before, now = [], jnp.ones_like(x), 2 * x - 1
        for i in range(1, m + 1):
            integral = 0.0 if i % 2 else -1 / (i**2 - 1)
            means.append(now.mean() - integral)
            before, now = now, 2 * (2 * x - 1) * now - before
        return jnp.stack(means)

    return residuals


def _steps(n):
    return tuple(np.arange(1, n + 1) / (n + 1))


def _linear(m):
    return (
        MghProblem(f"linear full rank {m}", linear_full_rank(m), (1.0,) * 5, m - 5.0),
        MghProblem(
            f"linear rank 1 {m}", linear_rank_1(m), (1.0,) * 5, m * (m - 1) / (2 * (2 * m + 1))
        ),
        MghProblem(
            f"linear rank 1 with zeros {m}",
            linear_rank_1_zeros(m),
            (1.0,) * 5,
            (m**2 + 3 * m - 6) / (2 * (2 * m - 3)),
        ),
    )


def _boundary_start(n):
    t = np.arange(1, n + 1) / (n + 1)
    return tuple(t * (t - 1))


PROBLEMS = (
    MghProblem("Rosenbrock", rosenbrock, (-1.2, 1.0), 0.0),
    MghProblem("Freudenstein-Roth", freudenstein_roth, (0.5, -2.0), 0.0),
    MghProblem("Powell badly scaled", powell_badly_scaled, (0.0, 1.0), 0.0),
    MghProblem("Brown badly scaled", brown_badly_scaled, (1.0, 1.0), 0.0),
    MghProblem("Beale", beale, (1.0, 1.0), 0.0),
    MghProblem("Jennrich-Sampson", jennrich_sampson, (0.3, 0.4), 124.36218235561),
    MghProblem("helical valley", helical_valley, (-1.0, 0.0, 0.0), 0.0),
    MghProblem("Bard", bard, (1.0, 1.0, 1.0), 8.21487730657e-3),
    MghProblem("Gaussian", gaussian, (0.4, 1.0, 0.0), 1.12793276961e-8),
    MghProblem("Meyer", meyer, (0.02, 4000.0, 250.0), 87.9458551710),
    MghProblem("Gulf", gulf, (5.0, 2.5, 0.15), 0.0),
    MghProblem("Box", box, (0.0, 10.0, 20.0), 0.0),
    MghProblem("Powell singular", powell_singular, (3.0, -1.0, 0.0, 1.0), 0.0),
    MghProblem("Wood", wood, (-3.0, -1.0, -3.0, -1.0), 0.0),
    MghProblem("Kowalik-Osborne", kowalik_osborne, (0.25, 0.39, 0.415, 0.39), 3.07505603849e-4),
    MghProblem("Brown-Dennis", brown_dennis, (25.0, 5.0, -5.0, -1.0), 85822.2016263563),
    MghProblem("Osborne 1", osborne_1, (0.5, 1.5, -1.0, 0.01, 0.02), 5.46489469748e-5),
    MghProblem("Biggs EXP6", biggs, (1.0, 2.0, 1.0, 1.0, 1.0, 1.0), 0.0),
    MghProblem(
        "Osborne 2",
        osborne_2,
        (1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5),
        4.01377362935e-2,
    ),
    MghProblem("Watson 6", watson, (0.0,) * 6, 2.28767005355e-3),
    MghProblem("Watson 9", watson, (0.0,) * 9, 1.39976013e-6),
    MghProblem("Watson 12", watson, (0.0,) * 12, 4.72238e-10),
    MghProblem("extended Rosenbrock 10", extended_rosenbrock, (-1.2, 1.0) * 5, 0.0),
    MghProblem("extended Rosenbrock 20", extended_rosenbrock, (-1.2, 1.0) * 10, 0.0),
    MghProblem("extended Powell singular 12", powell_singular, (3.0, -1.0, 0.0, 1.0) * 3, 0.0),
    MghProblem("penalty I 4", penalty_1, (1.0, 2.0, 3.0, 4.0), 2.24997750e-5),
    MghProblem("penalty I 10", penalty_1, tuple(range(1, 11)), 7.08765e-5),
    MghProblem("penalty II 4", penalty_2, (0.5,) * 4, 9.37629e-6),
    MghProblem("penalty II 10", penalty_2, (0.5,) * 10, 2.93660e-4),
    MghProblem(
        "variably dimensioned 10", variably_dimensioned, tuple(1 - np.arange(1, 11) / 10), 0.0
    ),
    MghProblem("trigonometric 10", trigonometric, (0.1,) * 10, 0.0),
    MghProblem("Brown almost-linear 10", brown_almost_linear, (0.5,) * 10, 0.0),
    MghProblem("Brown almost-linear 30", brown_almost_linear, (0.5,) * 30, 0.0),
    MghProblem("Brown almost-linear 40", brown_almost_linear, (0.5,) * 40, 0.0),
    MghProblem("discrete boundary value 10", discrete_boundary_value, _boundary_start(10), 0.0),
    MghProblem(
        "discrete integral equation 10", discrete_integral_equation, _boundary_start(10), 0.0
    ),
    MghProblem("Broyden tridiagonal 10", broyden_tridiagonal, (-1.0,) * 10, 0.0),
    MghProblem("Broyden banded 10", broyden_banded, (-1.0,) * 10, 0.0),
    *_linear(10),
    *_linear(50),
    MghProblem(
        "Chebyquad 1, 8",
        chebyquad(8),
        (0.5,),
        3.5517,
    ),
    MghProblem("Chebyquad 8", chebyquad(8), _steps(8), 3.51687372568e-3),
    MghProblem("Chebyquad 9", chebyquad(9), _steps(9), 0.0),
    MghProblem("Chebyquad 10", chebyquad(10), _steps(10), 6.503954772e-3),
)
