"""``lmjax fit``: files in, a fitted file out, and nothing half-done on wrong input."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

import bridge
from bridge._src.command.main import main
from lmjax._src.plots.names import OF_STEPS

# A process started from a background job inherits an ignored SIGINT, for which Python then installs
# no handler.
_RUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from bridge._src.command.main import main
sys.exit(main())
"""


def _predictions(path: Path, x: np.ndarray) -> np.ndarray:
    model = bridge.from_keras(path, "float64")
    return np.asarray(model(model.params, x))


def _mse(path: Path, table: np.ndarray) -> float:
    return float(np.mean((_predictions(path, table[:, :3]) - table[:, 3:]) ** 2))


def _arguments(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    target = ["--target", "height"] if data.suffix == ".csv" else []
    return ["fit", str(model), str(data), "-o", str(output), *target, *more]


@pytest.mark.slow
def test_standardized_fit_predicts_on_raw_inputs(
    model_file: Path,
    csv_file: Path,
    table: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, history = tmp_path / "fitted.keras", tmp_path / "history.csv"
    more = [
        "--standardize",
        "--validation-split",
        "0.25",
        "--epochs",
        "80",
        "--history",
        str(history),
    ]
    before = model_file.read_bytes()
    assert main(_arguments(model_file, csv_file, output, *more)) == 0
    assert model_file.read_bytes() == before
    assert _mse(output, table) < 1e-2 * np.var(table[:, 3])
    assert f"wrote {output}" in capsys.readouterr().out
    with history.open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    steps = [name for name in OF_STEPS if name != "trust_region_radius"]
    assert list(rows[0]) == ["epoch", "loss", "val_loss", *steps, "seconds"]
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert all(a["seconds"] <= b["seconds"] for a, b in pairwise(rows))


def test_fitted_file_loads_in_keras_with_equal_predictions(
    model_file: Path, npz_file: Path, table: np.ndarray, tmp_path: Path
) -> None:
    import keras

    output = tmp_path / "fitted.keras"
    assert (
        main(_arguments(model_file, npz_file, output, "--standardize", "--epochs", "20", "-q")) == 0
    )
    model = keras.models.load_model(output, compile=False)
    assert [type(layer).__name__ for layer in model.layers] == ["Normalization", "Dense", "Dense"]
    x = table[:, :3].astype("float32")
    np.testing.assert_allclose(
        model.predict(x, verbose=0), _predictions(output, x), rtol=1e-5, atol=1e-4
    )


def test_npz_and_csv_give_the_same_fit(
    model_file: Path, npz_file: Path, csv_file: Path, table: np.ndarray, tmp_path: Path
) -> None:
    outputs = tmp_path / "npz.keras", tmp_path / "csv.keras"
    for data, output in zip((npz_file, csv_file), outputs, strict=True):
        assert (
            main(_arguments(model_file, data, output, "--standardize", "--epochs", "5", "-q")) == 0
        )
    first, second = (_predictions(output, table[:, :3]) for output in outputs)
    np.testing.assert_allclose(first, second, rtol=1e-6)


@pytest.mark.slow
def test_data_on_disk_are_streamed(
    model_file: Path, npz_file: Path, table: np.ndarray, tmp_path: Path
) -> None:
    folder, file, outputs = tmp_path / "arrays", tmp_path / "arrays.h5", []
    folder.mkdir()
    scaled = table / np.abs(table).max(axis=0)
    np.savez(tmp_path / "scaled.npz", x=scaled[:, :3], y=scaled[:, 3:])
    with h5py.File(file, "w") as arrays:
        for name, array in (("x", scaled[:, :3]), ("y", scaled[:, 3:])):
            np.save(folder / f"{name}.npy", array)
            arrays[name] = array
    for number, data in enumerate((tmp_path / "scaled.npz", folder, file)):
        outputs.append(tmp_path / f"{number}.keras")
        assert main(_arguments(model_file, data, outputs[-1], "--epochs", "3", "-q")) == 0
    expected, *streamed = (_predictions(output, scaled[:, :3]) for output in outputs)
    for predictions in streamed:
        np.testing.assert_allclose(predictions, expected, rtol=1e-5)


@pytest.mark.slow
def test_several_inputs_are_arrays_of_their_names(
    table: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    left, right = keras.Input((2,), name="left"), keras.Input((1,), name="right")
    model = keras.Model(
        [left, right], keras.layers.Dense(1)(keras.layers.Concatenate()([left, right]))
    )
    path, data, output = tmp_path / "two.keras", tmp_path / "data.npz", tmp_path / "fitted.keras"
    model.save(path)
    scaled = table / np.abs(table).max(axis=0)
    np.savez(data, right=scaled[:, 2:3], left=scaled[:, :2], y=scaled[:, 3])
    assert (
        main(_arguments(path, data, output, "--validation-split", "0.25", "--epochs", "3", "-v"))
        == 0
    )
    assert "90 samples, 30 held out" in capsys.readouterr().out
    assert main(_arguments(path, data, output, "--epochs", "3", "-q")) == 0
    fitted = bridge.from_keras(output, "float64")
    predictions = np.ravel(fitted(fitted.params, [scaled[:, :2], scaled[:, 2:3]]))
    best = np.linalg.lstsq(np.c_[scaled[:, :3], np.ones(len(scaled))], scaled[:, 3])[1][0]
    assert np.sum((predictions - scaled[:, 3]) ** 2) < 1.2 * best
    np.savez(data, x=scaled[:, :3], y=scaled[:, 3])
    assert main(_arguments(path, data, output)) == 2
    assert "no array left and no array right; it holds x, y" in capsys.readouterr().err
    (tmp_path / "data.csv").write_text("a,b,c,height\n1,2,3,4\n")
    assert main(_arguments(path, tmp_path / "data.csv", output)) == 2
    assert "expected a .npz file with arrays left, right and y" in capsys.readouterr().err


def test_quiet_prints_nothing(
    model_file: Path, npz_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(_arguments(model_file, npz_file, tmp_path / "fitted.keras", "--epochs", "2", "-q"))
        == 0
    )
    assert capsys.readouterr() == ("", "")


def test_output_may_be_the_model_itself(
    model_file: Path, npz_file: Path, table: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(model_file.read_bytes())
    before = _mse(path, table)
    assert main(_arguments(path, npz_file, path, "--epochs", "5", "-q")) == 0
    assert _mse(path, table) < before


@pytest.mark.slow
def test_seed_chooses_the_held_out_samples(
    model_file: Path, npz_file: Path, tmp_path: Path
) -> None:
    histories = []
    for seed in ("0", "0", "1"):
        history = tmp_path / "history.csv"
        more = [
            "--validation-split",
            "0.5",
            "--seed",
            seed,
            "--epochs",
            "1",
            "--history",
            str(history),
            "-q",
        ]
        assert main(_arguments(model_file, npz_file, tmp_path / "fitted.keras", *more)) == 0
        histories.append(history.read_text().split(",")[:-1])
    assert histories[0] == histories[1] != histories[2]


@pytest.mark.slow
def test_compiled_loss_is_used_and_unknown_ones_are_named(
    npz_file: Path, table: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Rescaling([0.01, 1.0, 1e-4]), keras.layers.Dense(1)]
    )
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    path, data, output = (
        tmp_path / "model.keras",
        tmp_path / "binary.npz",
        tmp_path / "fitted.keras",
    )
    model.save(path)
    np.savez(data, x=table[:, :3], y=table[:, 3] > np.median(table[:, 3]))
    assert main(_arguments(path, data, output, "-q")) == 0
    assert (
        np.mean(
            (_predictions(output, table[:, :3])[:, 0] > 0) == (table[:, 3] > np.median(table[:, 3]))
        )
        > 0.8
    )
    model.compile(loss="dice")
    model.save(path)
    assert main(_arguments(path, npz_file, output)) == 2
    assert "--loss is needed" in capsys.readouterr().err
    assert main(_arguments(path, npz_file, output, "--loss", "mse", "-q")) == 0


@pytest.mark.slow
def test_standardizing_moves_weights_of_other_normalizations(
    npz_file: Path, table: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the HDF5 library, which a stranger's file may crash, sees no file but its own."""
    import h5py
    import keras

    layers = keras.layers
    adapted = layers.Normalization()
    adapted.adapt(np.array([[1.0, 2.0], [3.0, 5.0]]))
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(2),
            adapted,
            layers.Normalization(mean=0.5, variance=2.0),
            layers.Dense(1),
        ]
    )
    model.save(tmp_path / "model.keras")
    output = tmp_path / "fitted.keras"
    modes, real = [], h5py.File
    with monkeypatch.context() as patched:
        patched.setattr(h5py, "File", lambda file, mode: modes.append(mode) or real(file, mode))
        assert (
            main(
                _arguments(
                    tmp_path / "model.keras",
                    npz_file,
                    output,
                    "--standardize",
                    "--epochs",
                    "3",
                    "-q",
                )
            )
            == 0
        )
    assert modes == ["w"]
    loaded = keras.models.load_model(output, compile=False)
    assert [type(layer).__name__ for layer in loaded.layers].count("Normalization") == 3
    x = table[:, :3].astype("float32")
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), _predictions(output, x), rtol=1e-5, atol=1e-5
    )


@pytest.mark.slow
def test_constant_feature_does_not_blow_up_on_new_data(
    model_file: Path, tmp_path: Path, table: np.ndarray
) -> None:
    x = table[:, :3].copy()
    x[:, 1] = 7
    np.savez(tmp_path / "data.npz", x=x, y=table[:, 3])
    output = tmp_path / "fitted.keras"
    assert (
        main(
            _arguments(
                model_file, tmp_path / "data.npz", output, "--standardize", "--epochs", "3", "-q"
            )
        )
        == 0
    )
    x[:, 1] = 7.5
    assert np.abs(_predictions(output, x)).max() < 100


@pytest.mark.slow
def test_needs_neither_keras_nor_tensorflow(
    model_file: Path, npz_file: Path, tmp_path: Path
) -> None:
    arguments = _arguments(
        model_file, npz_file, tmp_path / "fitted.keras", "--standardize", "--epochs", "3"
    )
    loaded = "*(name in sys.modules for name in ('keras', 'tensorflow'))"
    code = (
        f"import sys; from bridge._src.command.main import main; code = main({arguments!r}); "
        f"print(code, {loaded})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "0 False False"


@pytest.mark.slow
def test_interrupt_writes_the_best_weights(model_file: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(50_000, 3))
    table = np.hstack(
        [x, np.sin(4 * x[:, :1]) * np.cos(3 * x[:, 1:2]) + random.normal(size=(len(x), 1))]
    )
    np.savez(tmp_path / "data.npz", x=table[:, :3], y=table[:, 3:])
    output, history = tmp_path / "fitted.keras", tmp_path / "history.csv"
    arguments = _arguments(
        model_file,
        tmp_path / "data.npz",
        output,
        "--epochs",
        "1000000",
        "-v",
        "--history",
        str(history),
    )
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, *arguments], stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            assert any(line.startswith("epoch") for line in process.stdout or ())
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "Interrupted" in out
    assert _mse(output, table) < _mse(model_file, table)
    assert len(history.read_text().splitlines()) > 1
