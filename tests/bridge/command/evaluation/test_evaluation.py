"""``lmjax predict`` and ``lmjax evaluate`` say what Keras says."""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bridge._src.command.main import main

RANDOM = np.random.default_rng(1)
ROWS = 23


def printed(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """What a command that ends well writes to standard output."""
    capsys.readouterr()
    assert main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


def loss_of(capsys: pytest.CaptureFixture[str], *arguments: Any) -> float:
    name, value = printed(capsys, "evaluate", *arguments).splitlines()[0].split()
    assert name == "loss"
    return float(value)


def agrees_with_keras(text: str, expected: dict[str, float]) -> None:
    """Lines of names and values, those of ``model.evaluate`` with ``return_dict``."""
    found = {name: float(value) for name, value in map(str.split, text.splitlines())}
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model with regularizers and a constraint by which it could not be trained, its file, and
    data with weights.
    """
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    hidden = layers.Dense(
        4,
        "tanh",
        kernel_regularizer=keras.regularizers.L1L2(0.02, 0.01),
        kernel_constraint=keras.constraints.MaxNorm(2.0, axis=[0, 1]),
        bias_regularizer="l1",
    )
    frozen = layers.Dense(3, kernel_regularizer="l2", trainable=False)
    model = keras.Sequential([keras.Input((2,)), hidden, frozen, layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    folder = tmp_path_factory.mktemp("regression")
    model.save(folder / "model.keras")
    x, y = RANDOM.normal(size=(ROWS, 2)), RANDOM.normal(size=(ROWS, 1))
    weights = RANDOM.uniform(0, 3, ROWS)
    np.savez(folder / "data.npz", x=x, y=y, w=weights)
    np.savez(folder / "inputs.npz", x=x)
    rows = np.hstack([y, x[:, ::-1], weights[:, None]])
    header = "height,b,a,w"
    np.savetxt(folder / "data.csv", rows, delimiter=",", header=header, comments="", fmt="%.17g")
    with h5py.File(folder / "data.h5", "w") as file:
        file["x"], file["y"], file["w"] = x, y, weights
    (folder / "data").mkdir()
    for name, array in (("x", x), ("y", y), ("w", weights)):
        np.save(folder / "data" / f"{name}.npy", array)
    return model, folder, x, y, weights


COLUMNS = ("--target", "height", "--features", "a,b")


def test_the_loss_is_that_of_evaluate(regression: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """With penalties and weights, whatever holds the data."""
    model, folder, x, y, weights = regression
    file = folder / "model.keras"
    plain = model.evaluate(x, y, verbose=0)[0]
    weighted = model.evaluate(x, y, sample_weight=weights, verbose=0)[0]
    assert loss_of(capsys, file, folder / "data.npz") == pytest.approx(plain, rel=1e-6)
    for data in ("data.npz", "data.h5", "data"):
        found = loss_of(capsys, file, folder / data, "--sample-weight", "w")
        assert found == pytest.approx(weighted, rel=1e-6)
    table = (*COLUMNS, "--sample-weight", "w")
    assert loss_of(capsys, *table, file, folder / "data.csv") == pytest.approx(weighted, rel=1e-6)
    double = loss_of(capsys, file, folder / "data.npz", "--dtype", "float64")
    assert double == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize(
    "data", ["data.npz", pytest.param("data.h5", marks=pytest.mark.slow), "data.csv"]
)
def test_the_metrics_are_those_of_evaluate(
    data: str, regression: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain and weighted ones, by names, functions and objects, in pieces."""
    import keras

    model, folder, x, y, weights = regression
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.compile(
        loss="mse",
        metrics=["mae", keras.metrics.RootMeanSquaredError(name="root"), keras.metrics.log_cosh],
        weighted_metrics=[keras.metrics.MeanSquaredError()],
    )
    copy.save(tmp_path / "model.keras")
    monkey = pytest.MonkeyPatch()
    monkey.setattr("bridge._src.command.evaluation.metrics._ROWS", 10)
    more = COLUMNS if data.endswith("csv") else ()
    files = (tmp_path / "model.keras", folder / data)
    text = printed(capsys, "evaluate", *files, *more, "--sample-weight", "w")
    monkey.undo()
    options = {"sample_weight": weights, "verbose": 0, "return_dict": True}
    agrees_with_keras(text, copy.evaluate(x, y, **options))


@pytest.mark.parametrize("sparse", [True, False])
def test_accuracy_is_what_keras_takes_it_for(
    sparse: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softmax")])
    x, y = RANDOM.normal(size=(ROWS, 2)), RANDOM.integers(0, 3, ROWS)
    loss = "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"
    model.compile(loss=loss, metrics=["accuracy"])
    y = y if sparse else np.eye(3)[y]
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    text = printed(capsys, "evaluate", tmp_path / "model.keras", tmp_path / "data.npz")
    agrees_with_keras(text, model.evaluate(x, y, verbose=0, return_dict=True))


def test_metrics_that_cannot_be_computed_are_named(
    regression: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of strangers are not imported, and without Keras there are none."""
    _, folder, *_ = regression
    config = {"name": "mine", "fn": {"class_name": "function", "config": "system", "module": "os"}}
    for metric, reason in (
        ({"module": "mine", "class_name": "Mine", "config": {}, "registered_name": "my>Mine"}, ""),
        ({"module": "keras.metrics", "class_name": "MeanMetricWrapper", "config": config}, ""),
        ({"module": "builtins", "class_name": "function", "config": "system"}, ""),
        ("no such metric", "no such metric"),
    ):
        with zipfile.ZipFile(folder / "model.keras") as old:
            members = {name: old.read(name) for name in old.namelist()}
        description = json.loads(members["config.json"])
        description["compile_config"]["metrics"] = [metric]
        members["config.json"] = json.dumps(description).encode()
        with zipfile.ZipFile(tmp_path / "model.keras", "w") as new:
            for name, content in members.items():
                new.writestr(name, content)
        assert main(["evaluate", str(tmp_path / "model.keras"), str(folder / "data.npz")]) == 0
        streams = capsys.readouterr()
        assert streams.out.count("\n") == 1
        assert "of compile() will not be computed" in streams.err
        assert (reason or "(some are not Keras' own)") in streams.err
    monkeypatch.setitem(sys.modules, "keras", None)
    assert main(["evaluate", str(folder / "model.keras"), str(folder / "data.npz")]) == 0
    streams = capsys.readouterr()
    assert streams.out.startswith("loss ")
    assert "a metric of compile() needs keras, which is not installed" in streams.err


@pytest.mark.parametrize("kind", ["classes", "masked steps"])
def test_the_loss_of_other_models_is_that_of_evaluate(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    if kind == "classes":
        x = RANDOM.normal(size=(ROWS, 2))
        stack = [keras.Input((2,)), layers.Dense(3, "softmax")]
        loss, y = "sparse_categorical_crossentropy", RANDOM.integers(0, 3, ROWS)
    else:
        x = RANDOM.integers(0, 4, (ROWS, 5))
        embedding = layers.Embedding(4, 2, mask_zero=True)
        stack = [keras.Input((5,), dtype="int32"), embedding, layers.Dense(1, "sigmoid")]
        loss, y = "binary_crossentropy", RANDOM.integers(0, 2, (ROWS, 5, 1))
    model = keras.Sequential(stack)
    model.compile(loss=loss)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    expected = model.evaluate(x, y, batch_size=ROWS, verbose=0)
    found = loss_of(capsys, tmp_path / "model.keras", tmp_path / "data.npz")
    assert found == pytest.approx(expected, rel=1e-6)


def test_predictions_are_those_of_predict(
    regression: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To standard output and into files, in pieces or not, with targets or without."""
    model, folder, x, _, _ = regression
    expected, file = model.predict(x, verbose=0), folder / "model.keras"

    def agrees(found: Any) -> None:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    text = printed(capsys, "predict", file, folder / "data.csv", *COLUMNS, "--batch-size", 10)
    name, *rows = csv.reader(io.StringIO(text))
    assert name == ["height"]
    agrees(np.array(rows, np.float32))
    text = printed(capsys, "predict", file, folder / "inputs.npz")
    assert text.startswith("prediction\n")
    whole = np.array(text.split()[1:], np.float32)[:, None]
    np.testing.assert_array_equal(whole, np.array(rows, np.float32))
    for name, options in (
        ("p.csv", ()),
        ("p.tsv", ("--batch-size", 1)),
        ("p.npy", ()),
        ("p.npz", ()),
    ):
        output = tmp_path / name
        assert printed(capsys, "predict", file, folder / "data.h5", "-o", output, *options) == ""
        if name.endswith("sv"):
            agrees(np.loadtxt(output, skiprows=1, ndmin=2))
        else:
            found = np.load(output)
            agrees(found if name.endswith(".npy") else found["prediction"])


def test_several_outputs_go_by_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    layers = keras.layers
    left, right = keras.Input((2,), name="left"), keras.Input((1,), name="right")
    merged = layers.Concatenate()([left, right])
    outputs = [layers.Dense(1, name="file")(merged), layers.Dense(2, name="force")(merged)]
    model = keras.Model([left, right], outputs)
    model.save(tmp_path / "model.keras")
    arrays = {"left": RANDOM.normal(size=(ROWS, 2)), "right": RANDOM.normal(size=(ROWS, 1))}
    np.savez(tmp_path / "data.npz", **arrays)
    expected = model.predict([arrays["left"], arrays["right"]], verbose=0)
    command = ["predict", tmp_path / "model.keras", tmp_path / "data.npz"]
    printed(capsys, *command, "-o", tmp_path / "p.npz")
    found = np.load(tmp_path / "p.npz")
    for name, array in zip(("file", "force"), expected, strict=True):
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
    text = printed(capsys, *command)
    assert text.splitlines()[0] == "file,force_0,force_1"
    wrong = {
        "p.npy": "has 2 outputs, and a .npy file holds one array",
        "p.txt": "has to end in .csv, .tsv, .npy, .npz",
        "data.npz": "would overwrite the data",
        "none/p.npz": "make it first",
    }
    for name, words in wrong.items():
        assert main([*map(str, command), "-o", str(tmp_path / name)]) == 2
        assert words in capsys.readouterr().err
    np.savez(tmp_path / "data.npz", left=arrays["left"], right=RANDOM.normal(size=(ROWS, 3)))
    assert main(list(map(str, command))) == 2
    assert "input 'right' has shape (" in capsys.readouterr().err


def test_wrong_data_are_named(regression: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, folder, *_ = regression
    file, table = str(folder / "model.keras"), str(folder / "data.csv")
    for arguments, words in (
        (["predict", file, table], "4 columns to predict from: height, b, a, w; choose them with"),
        (["evaluate", file, table], "say with --target COLUMN"),
        (["evaluate", file, str(folder / "inputs.npz")], "has no array y"),
        (["predict", file, str(folder / "none.csv")], "no such file"),
    ):
        assert main(arguments) == 2
        streams = capsys.readouterr()
        assert streams.out == ""
        assert streams.err.splitlines()[-1].startswith(f"lmjax {arguments[0]}: error: ")
        assert words in streams.err
