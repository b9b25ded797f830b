"""``python -m benchmarks.coverage``: how often intervals of Bayesian fits cover new measurements.

Data from formulas, drawn again for each repetition: a plane, a sine, a product of two inputs, and a
sine whose noise grows with the input, which the one noise of a fit cannot follow.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import lmjax
from benchmarks.problems.tanh_layer import network, start

#: Rows to fit, and to look at.
ROWS, NEW = 100, 200
UNITS = 10
Array = np.ndarray


class Family(NamedTuple):
    """How data come about; inputs are between -1 and 1."""

    inputs: int
    curve: Callable[[Array], Array]
    noise: Callable[[Array], Array]


FAMILIES = {
    "plane": Family(3, lambda x: x @ np.array([1.0, -2.0, 0.5]), lambda x: np.full(len(x), 0.3)),
    "sine": Family(1, lambda x: np.sin(4 * x[:, 0]), lambda x: np.full(len(x), 0.2)),
    "product": Family(2, lambda x: np.sin(3 * x[:, 0]) * x[:, 1], lambda x: np.full(len(x), 0.1)),
    "growing noise": Family(1, lambda x: np.sin(4 * x[:, 0]), lambda x: 0.15 + 0.1 * x[:, 0]),
}


def covered(family: Family, level: float, seed: int) -> tuple[float, float, float]:
    """Of new measurements, in plain and in calibrated intervals, and of the curve."""
    random = np.random.default_rng(seed)
    x, new = (random.uniform(-1, 1, (count, family.inputs)) for count in (ROWS, NEW))
    y, truth = (
        family.curve(rows) + family.noise(rows) * random.normal(size=len(rows)) for rows in (x, new)
    )
    posterior = lmjax.fit(
        network,
        start(family.inputs, UNITS, random),
        x,
        y[:, None],
        epochs=100,
        regularization="bayesian",
        verbose=0,
    ).posterior

    def share(target: Array, **options: Any) -> float:
        lower, upper = posterior.predict_interval(new, level, **options)
        return float(np.mean((lower[:, 0] <= target) & (target <= upper[:, 0])))

    curve = share(family.curve(new), kind="confidence", calibration="plain")
    return share(truth, calibration="plain"), share(truth), curve


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage", description="Coverage of intervals of Bayesian fits."
    )
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--level", type=float, default=0.95)
    options = parser.parse_args()
    table = Table("data", "plain", "calibrated", "of the curve", "standard error")
    for name, family in FAMILIES.items():
        shares = np.array(
            [covered(family, options.level, seed) for seed in range(options.repetitions)]
        )
        error = shares[:, 1].std() / np.sqrt(len(shares))
        cells = [*(f"{100 * one:.1f} %" for one in shares.mean(axis=0)), f"{100 * error:.1f} %"]
        table.add_row(name, *cells)
        print(name, *cells, flush=True)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
