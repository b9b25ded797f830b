"""Regression with a small fully connected network: data, and the weights that every peer starts
from.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Regression:
    """Inputs (N, sizes[0]), targets (N, sizes[-1]), and a tanh network with a linear last layer."""

    x: np.ndarray
    y: np.ndarray
    sizes: tuple[int, ...]
    seed: int = 0

    @property
    def num_params(self) -> int:
        """How many weights and biases the network has."""
        return sum(
            (fan_in + 1) * fan_out
            for fan_in, fan_out in zip(self.sizes, self.sizes[1:], strict=False)
        )

    def start(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """A (kernel, bias) pair a layer in float64: kernels glorot-uniform, biases zero."""
        random = np.random.default_rng(self.seed)
        pairs = []
        for fan_in, fan_out in zip(self.sizes, self.sizes[1:], strict=False):
            limit = np.sqrt(6 / (fan_in + fan_out))
            pairs.append((random.uniform(-limit, limit, (fan_in, fan_out)), np.zeros(fan_out)))
        return pairs


def sinc(num_samples: int = 20_000) -> Regression:
    """sin(10x)/(10x) on [-1, 1] with Dense(20, tanh)-Dense(1): 61 parameters."""
    x = np.linspace(-1, 1, num_samples)[:, None]
    return Regression(x, np.sinc(10 * x / np.pi), (1, 20, 1))


def mlp() -> Regression:
    """A smooth function of 8 inputs, 10 000 samples, with Dense(40, tanh)-Dense(40, tanh)-Dense(1):
    2 041 parameters.
    """
    x = np.random.default_rng(0).uniform(-1, 1, size=(10_000, 8))
    return Regression(
        x, np.sin(x.sum(axis=1, keepdims=True)) + 0.1 * x[:, :1] * x[:, 1:2], (8, 40, 40, 1)
    )


def wide() -> Regression:
    """38 samples of 45 120 inputs (the size of neupy's issue 242) for Dense(300, tanh)-Dense(3): 13
    537 203 parameters.
    """
    random = np.random.default_rng(0)
    x = random.normal(size=(38, 45_120)).astype(np.float32)
    return Regression(x, np.eye(3)[random.integers(0, 3, 38)], (45_120, 300, 3))
