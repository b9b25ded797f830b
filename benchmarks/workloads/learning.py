"""Tasks on which a network has to generalise: training and test data, and the network's sizes."""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.workloads.regression import Regression


@dataclasses.dataclass(frozen=True)
class Task:
    """A network with its training data, and test data; targets of a classification are one-hot rows
    for softmax outputs.
    """

    train: Regression
    test_x: np.ndarray
    test_y: np.ndarray
    classification: bool
    batch_size: int  #: of the peers that take batches


def teacher() -> Task:
    """A random tanh network of 8 inputs teaches 20 000 samples to 8-100-100-1, 11 101 parameters;
    no noise, 5 000 test samples.
    """
    random = np.random.default_rng(0)
    x = random.normal(size=(25_000, 8))
    hidden = x
    for fan_in, fan_out in ((8, 30), (30, 30)):
        hidden = np.tanh(
            hidden @ random.normal(size=(fan_in, fan_out)) * (2 / fan_in) ** 0.5
            + random.normal(size=fan_out)
        )
    y = hidden @ random.normal(size=(30, 1))
    y = (y - y.mean()) / y.std()
    return Task(
        Regression(x[:20_000], y[:20_000], (8, 100, 100, 1)), x[20_000:], y[20_000:], False, 256
    )


def digits() -> Task:
    """scikit-learn's 1 797 handwritten digits (shipped with it), 1 400 to train 64-150-10 on, 11
    260 parameters.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.data))
    x, y = data.data[order] / 16, np.eye(10)[data.target[order]]
    return Task(Regression(x[:1400], y[:1400], (64, 150, 10)), x[1400:], y[1400:], True, 64)
