"""The two fits with Keras models: data that scikit-learn ships, split once, and a model for
each.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from bridge._src.typing import KerasModel

Arrays = tuple[np.ndarray, np.ndarray]

#: What :func:`problems` are called.
PROBLEMS = ("diabetes", "digits")

_HELD_OUT = 0.2  #: share of the samples that no fit sees


class Problem(NamedTuple):
    """A data set, the model that is fitted to it, and how it is scored."""

    name: str
    description: str
    train: Arrays
    test: Arrays
    build: Callable[[ModuleType], KerasModel]  #: from the Keras module to a compiled model
    epochs: int  #: steps of Levenberg-Marquardt
    score_name: str
    score: Callable[[np.ndarray, np.ndarray], float]  #: from predictions and targets


def problems(seed: int) -> list[Problem]:
    """Regression on the diabetes data and classification of the digits."""
    return [_diabetes(seed), _digits(seed)]


def _diabetes(seed: int) -> Problem:
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    # Scikit-learn's columns have norm 1, here variance 1.
    train, test = _split(x * len(x) ** 0.5, y[:, None], seed)
    mean, deviation = train[1].mean(), train[1].std()
    train, test = ((x, (y - mean) / deviation) for x, y in (train, test))

    def build(keras: ModuleType) -> KerasModel:
        decay = keras.regularizers.L2(1e-2)
        layers = [
            keras.layers.Dense(8, activation="tanh", kernel_regularizer=decay),
            keras.layers.Dense(1, kernel_regularizer=decay),
        ]
        return _compiled(keras, x.shape[1:], layers, "mse")

    def r_squared(predictions: np.ndarray, targets: np.ndarray) -> float:
        return float(1 - np.mean((predictions - targets) ** 2) / np.var(targets))

    description = (
        "disease progression of 442 patients from 10 measurements; mean squared error with "
        "L2 regularizers"
    )
    return Problem(
        "diabetes", description, _float32(train), _float32(test), build, 60, "R²", r_squared
    )


def _digits(seed: int) -> Problem:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    train, test = _split(x.reshape(-1, 8, 8, 1) / 16, y, seed)

    def build(keras: ModuleType) -> KerasModel:
        decay = keras.regularizers.L2(1e-4)
        layers = [
            keras.layers.AveragePooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(12, activation="tanh", kernel_regularizer=decay),
            keras.layers.Dense(10, activation="softmax", kernel_regularizer=decay),
        ]
        return _compiled(keras, (8, 8, 1), layers, "sparse_categorical_crossentropy")

    def accuracy(predictions: np.ndarray, targets: np.ndarray) -> float:
        return float(np.mean(predictions.argmax(axis=-1) == targets))

    description = (
        "1797 handwritten digits of 8 × 8 pixels; softmax, cross-entropy with L2 regularizers"
    )
    return Problem(
        "digits", description, _float32(train), _float32(test), build, 12, "accuracy", accuracy
    )


def _split(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[Arrays, Arrays]:
    order = np.random.default_rng(seed).permutation(len(x))
    held_out, kept = np.split(order, [round(_HELD_OUT * len(x))])
    return (x[kept], y[kept]), (x[held_out], y[held_out])


def _float32(data: Arrays) -> Arrays:
    x, y = data
    return x.astype("float32"), y.astype("float32") if y.dtype.kind == "f" else y


def _compiled(
    keras: ModuleType, shape: tuple[int, ...], layers: list[Any], loss: str
) -> KerasModel:
    model = keras.Sequential([keras.Input(shape), *layers])
    model.compile(optimizer="adam", loss=loss)
    return model
