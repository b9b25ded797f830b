"""Standardised numbers, and weights of a network that takes and gives others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmjax._src.typing import NumpyArray, Params

#: A mean of equal numbers differs from them by some roundings.
_ROUNDINGS = 8


class AffineMap(NamedTuple):
    """Numbers less ``mean``, over ``scale``, for each column."""

    mean: NumpyArray
    scale: NumpyArray

    def forward(self, numbers: NumpyArray) -> NumpyArray:
        """Standardised ones."""
        return (numbers - self.mean) / self.scale

    def back(self, numbers: NumpyArray) -> NumpyArray:
        """From standardised ones."""
        return numbers * self.scale + self.mean


def identity(columns: int) -> AffineMap:
    """The map that changes nothing."""
    return AffineMap(np.zeros(columns), np.ones(columns))


def standardization(numbers: NumpyArray, weights: NumpyArray) -> AffineMap:
    """To zero mean and unit variance of the columns of ``numbers``, (N, columns), where each row
    counts as its weight says. A column that does not vary beyond rounding keeps its scale.
    """
    shares = weights[:, None] / weights.sum()
    mean = np.sum(shares * numbers, axis=0)
    scale = np.sqrt(np.sum(shares * (numbers - mean) ** 2, axis=0))
    largest = np.abs(numbers[weights > 0]).max(axis=0)
    rounding = _ROUNDINGS * np.finfo(numbers.dtype).eps * largest
    return AffineMap(mean, np.where(scale > rounding, scale, 1.0))


def folded(params: Params, inputs: AffineMap, outputs: AffineMap) -> Params:
    """The layers of the network that takes and gives numbers as they are, from those of one that
    takes and gives standardised ones.
    """
    layers = [dict(layer) for layer in params]
    first, last = layers[0], layers[-1]
    first["kernel"] = first["kernel"] / inputs.scale[:, None]
    first["bias"] = first["bias"] - inputs.mean @ first["kernel"]
    last["kernel"] = last["kernel"] * outputs.scale
    last["bias"] = last["bias"] * outputs.scale + outputs.mean
    return layers
