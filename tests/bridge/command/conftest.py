"""Files for the commands: a small model with an L2 regularizer, and data that it can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def table() -> np.ndarray:
    """Columns a, b, c and height, of quite different units."""
    random = np.random.default_rng(0)
    x = random.normal([50, 0.01, -3000], [20, 0.002, 500], (120, 3))
    height = np.sin(x[:, :1] / 20) + x[:, 2:] / 1000
    return np.hstack([x, height])


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled Keras model of three inputs and one output."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    hidden = layers.Dense(6, "tanh", kernel_regularizer=keras.regularizers.L2(1e-5))
    model = keras.Sequential([keras.Input((3,)), hidden, layers.Dense(1)], name="small")
    model.compile(loss=keras.losses.MeanSquaredError())
    path = tmp_path_factory.mktemp("models") / "small.keras"
    model.save(path)
    return path


@pytest.fixture
def csv_file(tmp_path: Path, table: np.ndarray) -> Path:
    path = tmp_path / "data.csv"
    np.savetxt(path, table, delimiter=",", header="a,b,c,height", comments="")
    return path


@pytest.fixture
def npz_file(tmp_path: Path, table: np.ndarray) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=table[:, :3], y=table[:, 3:])
    return path
