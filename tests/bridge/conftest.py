"""Keras models that several tests of the bridge share; building one is cheap, importing Keras is
not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def keras() -> Any:
    import keras

    return keras


def _randomized(keras: Any, model: Any) -> Any:
    """``model`` with weights that are nowhere zero or one, so that a mix-up of two weights
    shows.
    """
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(
            rng.uniform(0.2, 0.9, weight.shape).astype(weight.dtype)
            * rng.choice([-1.0, 1.0]) ** ("variance" not in weight.name)
        )
    return model


def _mlp(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((3,)), layers.Dense(5, "tanh"), layers.Dropout(0.5), layers.Dense(2)],
        name="mlp",
    )


def _mixed(keras: Any) -> Any:
    layers = keras.layers
    inner = keras.Sequential(
        [layers.Dense(4, "relu"), layers.BatchNormalization(), layers.Dense(6, use_bias=False)],
        name="inner",
    )
    chain = [
        layers.Dense(8, activation=layers.PReLU()),
        inner,
        layers.Reshape((6, 1)),
        layers.Conv1D(3, 2),
        layers.LSTM(4),
        layers.Dense(1),
    ]
    return keras.Sequential([keras.Input((5,)), *chain], name="mixed")


def _images(keras: Any) -> Any:
    layers = keras.layers
    chain = [
        layers.Rescaling(0.1),
        layers.Conv2D(3, 3, activation="gelu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(2, "softmax"),
    ]
    return keras.Sequential([keras.Input((8, 8, 2)), *chain], name="images")


def _tokens(keras: Any) -> Any:
    layers = keras.layers
    chain = [
        layers.Embedding(11, 4, mask_zero=True),
        layers.GRU(3, return_sequences=True),
        layers.LSTM(2),
        layers.Dense(1),
    ]
    return keras.Sequential([keras.Input((None,), dtype="int32"), *chain], name="tokens")


def _functional(keras: Any) -> Any:
    layers = keras.layers
    first, second, shared = (
        keras.Input((4,), name="first"),
        keras.Input((4,), name="second"),
        layers.Dense(4, "tanh", name="shared"),
    )
    inner_input = keras.Input((4,))
    inner = keras.Model(inner_input, layers.Dense(3, name="deep")(inner_input), name="inner")
    hidden = shared(first)
    outputs = [layers.Dense(2, name="head")(shared(hidden)), inner(shared(second)), inner(hidden)]
    return keras.Model([first, second], outputs, name="functional")


def _repeated(keras: Any) -> Any:
    dense = keras.layers.Dense(3, name="again")
    return keras.Sequential(
        [keras.Input((3,)), dense, keras.layers.Activation("tanh"), dense], name="repeated"
    )


_BUILDERS: dict[str, Callable[[Any], Any]] = {
    "mlp": _mlp,
    "mixed": _mixed,
    "images": _images,
    "tokens": _tokens,
    "functional": _functional,
    "repeated": _repeated,
}


@pytest.fixture(scope="session")
def build(keras: Any) -> Callable[[str], Any]:
    """A function that builds the model of a name, anew each time, with weights that depend on the
    name alone.
    """

    def make(name: str) -> Any:
        model = _BUILDERS[name](keras)
        inputs = inputs_of(model)
        model(inputs[0] if len(inputs) == 1 else inputs)
        return _randomized(keras, model)

    return make


def inputs_of(model: Any, batch: int = 4) -> list[np.ndarray]:
    """Random inputs for ``model``."""
    rng = np.random.default_rng(0)
    shapes = [
        (batch, *(6 if size is None else size for size in tensor.shape[1:]))
        for tensor in model.inputs
    ]
    draws = (
        rng.integers(0, 11, shape) if "int" in tensor.dtype else rng.standard_normal(shape)
        for tensor, shape in zip(model.inputs, shapes, strict=True)
    )
    return [draw.astype(tensor.dtype) for draw, tensor in zip(draws, model.inputs, strict=True)]


@pytest.fixture
def outputs() -> Callable[[Any, Any], list[np.ndarray]]:
    """What Keras returns for inputs, as a list of arrays."""

    def run(model: Any, x: Any) -> list[np.ndarray]:
        found = model(x)
        return [np.asarray(value) for value in (found if isinstance(found, list) else [found])]

    return run


@pytest.fixture
def feed() -> Callable[[Any], Any]:
    """Random inputs as the model takes them."""

    def make(model: Any, batch: int = 4) -> Any:
        arrays = inputs_of(model, batch)
        return arrays[0] if len(arrays) == 1 else arrays

    return make


@pytest.fixture
def saved(build: Callable[[str], Any], tmp_path: Any) -> Callable[[str], Any]:
    """The path of a model of a name, saved as a ``.keras`` file."""

    def make(name: str) -> Any:
        path = tmp_path / f"{name}.keras"
        build(name).save(path)
        return path

    return make
