"""``python -m benchmarks.uci FOLDER``: Bayesian regularization on the regression sets of UCI.

The folder has those of J. M. Hernández-Lobato and R. Adams (2015) as Y. Gal and Z. Ghahramani
(2016) have published them with their splits, one subfolder for each set with ``data/data.txt`` and
the indices of features, target and splits. Nothing of them is kept here, since no licence comes
with them. One setting for all sets, chosen on none: a layer of 50 tanh units, Keras' initial
weights, standardised columns, an equal mixture of a few starts.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import lmjax
from benchmarks.problems.tanh_layer import network, start

#: RMSE and log-likelihood of tuned Monte Carlo dropout in Keras (Gal and Ghahramani, 2016).
DROPOUT = {
    "bostonHousing": (2.90, -2.40),
    "concrete": (4.82, -2.93),
    "energy": (0.54, -1.21),
    "kin8nm": (0.08, 1.14),
    "power-plant": (4.01, -2.80),
    "wine-quality-red": (0.62, -0.93),
    "yacht": (0.67, -1.25),
}
UNITS = 50


class Split(NamedTuple):
    """Rows to train on and to test on, in their own units."""

    x: np.ndarray
    y: np.ndarray
    new_x: np.ndarray
    new_y: np.ndarray


class Score(NamedTuple):
    """What came of a split."""

    rmse: float
    log_likelihood: float
    coverage: float  #: of intervals of 95 %
    effective: float  #: parameters, mean of the starts
    seconds: float  #: compilation included


def read(folder: Path, number: int) -> Split:
    """A split of a set."""
    data = np.loadtxt(folder / "data" / "data.txt")
    features = np.loadtxt(folder / "data" / "index_features.txt").astype(int)
    target = int(np.loadtxt(folder / "data" / "index_target.txt"))
    rows = [
        np.loadtxt(folder / "data" / f"index_{part}_{number}.txt").astype(int)
        for part in ("train", "test")
    ]
    x, y = data[:, features], data[:, [target]]
    return Split(x[rows[0]], y[rows[0]], x[rows[1]], y[rows[1]])


def score(split: Split, number: int, starts: int, epochs: int, groups: str) -> Score:
    """Fits one split."""
    begin = time.perf_counter()
    shift, scale = split.x.mean(axis=0), split.x.std(axis=0)
    scale = np.where(scale > 0, scale, 1)
    mean, deviation = split.y.mean(), split.y.std()
    generator = np.random.default_rng(number)
    first, *others = (start(split.x.shape[1], UNITS, generator) for _ in range(starts))
    result = lmjax.fit(
        network,
        first,
        (split.x - shift) / scale,
        (split.y - mean) / deviation,
        epochs=epochs,
        restarts=others,
        regularization=lmjax.Bayesian(groups),
        verbose=0,
    )
    mixture, new_x = result.mixture, (split.new_x - shift) / scale
    new_y = (split.new_y - mean) / deviation
    error = (mixture.predict(new_x).mean - new_y) * deviation
    lower, upper = mixture.predict_interval(new_x, 0.95)
    return Score(
        float(np.sqrt(np.mean(error**2))),
        float(np.mean(mixture.log_density(new_x, new_y)) - np.log(deviation)),
        float(np.mean((lower <= new_y) & (new_y <= upper))),
        float(np.mean([one.num_effective_params for one in mixture.posteriors])),
        time.perf_counter() - begin,
    )


def main() -> None:
    """Prints a table, a row for each set as soon as it is done."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.uci", description="Bayesian regularization on UCI's sets."
    )
    parser.add_argument("folder", type=Path, help="with a subfolder for each set")
    parser.add_argument("--sets", default=",".join(DROPOUT), help="names, with commas between")
    parser.add_argument("--splits", type=int, default=20, help="the most of each set")
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--groups", default="arrays", choices=["arrays", "one"])
    options = parser.parse_args()
    console = Console(width=150)
    table = Table("set", "rmse", "dropout", "log-likelihood", "dropout", "95 % covers", "γ", "s")
    for name in options.sets.split(","):
        folder = options.folder / name
        count = len(list((folder / "data").glob("index_test_*.txt")))
        scores = [
            score(read(folder, number), number, options.starts, options.epochs, options.groups)
            for number in range(min(count, options.splits))
        ]
        columns = np.asarray(scores)
        means, errors = columns.mean(axis=0), columns.std(axis=0) / np.sqrt(len(scores))
        known = DROPOUT.get(name, (np.nan, np.nan))
        row = (
            f"{name} ({len(scores)} splits)",
            *(f"{means[0]:.3f} ± {errors[0]:.3f}", f"{known[0]:.2f}"),
            *(f"{means[1]:.3f} ± {errors[1]:.3f}", f"{known[1]:.2f}"),
            *(f"{100 * means[2]:.1f}", f"{means[3]:.0f}", f"{np.median(columns[:, 4]):.1f}"),
        )
        table.add_row(*row)
        console.print("  ".join(row))
    console.print(table)


if __name__ == "__main__":
    main()
