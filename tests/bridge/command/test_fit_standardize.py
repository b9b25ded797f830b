"""``lmjax fit --standardize`` where the scales are folded into the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bridge
from bridge._src.command.main import main

ROWS = 120


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Samples of a small quantity, of inputs far from zero."""
    random = np.random.default_rng(0)
    z = random.normal(size=(ROWS, 2))
    x, y = z * [30, 5e3] + [200, -2e4], 1e-4 * (np.sin(2 * z[:, :1]) + z[:, 1:]) + 7e-4
    np.savez(tmp_path / "samples.npz", x=x, y=y)
    return tmp_path / "samples.npz", x, y


def _saved(path: Path, functional: bool, activation: str = "linear") -> Path:
    import keras

    keras.utils.set_random_seed(0)
    given = keras.Input((2,))
    layers = [keras.layers.Dense(8, "tanh"), keras.layers.Dense(1, activation, name="end")]
    model = (
        keras.Model(given, layers[1](layers[0](given)))
        if functional
        else keras.Sequential([given, *layers])
    )
    model.compile(loss="mse")
    model.save(path)
    return path


@pytest.mark.parametrize(
    ("functional", "asked"),
    [
        (True, ["--standardize=both"]),
        pytest.param(False, ["--standardize", "both"], marks=pytest.mark.slow),
        pytest.param(True, ["--standardize"], marks=pytest.mark.slow),
        pytest.param(False, ["--standardize", "targets"], marks=pytest.mark.slow),
    ],
)
def test_the_fitted_file_takes_and_gives_raw_numbers(
    tmp_path: Path,
    data: tuple[Path, np.ndarray, np.ndarray],
    functional: bool,
    asked: list[str],
) -> None:
    file, x, y = data
    model, output = _saved(tmp_path / "model.keras", functional), tmp_path / "fitted.keras"
    # The option that stands for itself has a file behind it.
    arguments = ["fit", *asked, str(model), str(file), "-o", str(output), "--epochs", "40", "-q"]
    assert main(arguments) == 0
    before, after = (bridge.from_keras(path, "float64") for path in (model, output))
    assert [layer.name for layer in after.graph.layers] == [
        layer.name for layer in before.graph.layers
    ]
    errors = [np.mean(np.square(one(one.params, x) - y)) for one in (before, after)]
    assert errors[1] < errors[0]
    if "targets" not in asked:
        assert errors[1] < 0.05 * np.var(y)


@pytest.mark.slow
def test_streams_are_folded_too(tmp_path: Path, data: tuple[Path, np.ndarray, np.ndarray]) -> None:
    _, x, y = data
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    model, output = _saved(tmp_path / "model.keras", False), tmp_path / "fitted.keras"
    arguments = [
        str(model),
        str(folder),
        "-o",
        str(output),
        "--standardize",
        "--epochs",
        "30",
        "-q",
    ]
    assert main(["fit", *arguments]) == 0
    fitted = bridge.from_keras(output, "float64")
    assert np.mean(np.square(fitted(fitted.params, x) - y)) < 0.05 * np.var(y)


def test_what_has_no_fold_is_refused_in_one_line(
    tmp_path: Path,
    data: tuple[Path, np.ndarray, np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, output = _saved(tmp_path / "model.keras", True, "relu"), tmp_path / "fitted.keras"
    arguments = [str(model), str(data[0]), "-o", str(output), "--standardize", "both", "-q"]
    assert main(["fit", *arguments]) == 2
    said = capsys.readouterr().err
    assert "model.keras: --standardize: output 'end' comes from layer 'end', which has" in said
    assert said.count("\n") == 1
    assert not output.exists()
