"""``lmjax fit`` on wrong input: one line, exit code 2, and no file touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bridge._src.command.main import main


def _arguments(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    target = ["--target", "height"] if data.suffix == ".csv" else []
    return ["fit", str(model), str(data), "-o", str(output), *target, *more]


def _empty_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "empty.h5", "w"):
        return folder / "empty.h5"


def _wrong(tmp_path: Path, model: Path, name: str) -> tuple[list[str], str]:
    """Arguments of a wrong call, and what its message has to name."""
    data, output = tmp_path / "wrong.csv", tmp_path / "fitted.keras"
    good = "a,b,c,height\n" + "1,2,3,4\n" * 4
    contents = {
        "text in the data": (
            good + "1,2,blue,4\n",
            "line 6, column c: 'blue' is not a number; remove the column, or put one column",
        ),
        "text as the target": (
            good + "1,2,3,blue\n",
            "line 6, column height: 'blue' is not a number; write classes as 0, 1, 2",
        ),
        "an empty cell": (
            good + "1,,3,4\n",
            "line 6, column b: the cell is empty; fill it or remove the line",
        ),
        "semicolons": (good.replace(",", ";"), "separated by ';'; say --delimiter ';'"),
        "NaN in the data": (good + "1,nan,3,4\n", "line 6, column b"),
        "a short line": (good + "1,2,3\n", "line 6 has 3 columns"),
        "an empty file": ("", "is empty"),
        "no samples": ("a,b,c,height\n", "no samples"),
        "no such column": (good.replace("height", "weight"), "'height'"),
        "too few inputs": ("a,height\n1,2\n3,4\n", "(batch, 3)"),
        "one column twice": (good.replace("a,b", "b,b"), "more than one column is called b"),
    }
    if name in contents:
        data.write_text(contents[name][0])
        return _arguments(model, data, output), contents[name][1]
    arrays: dict[str, tuple[dict[str, Any], str]] = {
        "different lengths": ({"x": np.ones((5, 3)), "y": np.ones(4)}, "5 samples and y has 4"),
        "no array y": (
            {"x": np.ones((5, 3)), "t": np.ones(5)},
            "no array y; it holds x, t; write it with numpy.savez(path, x=..., y=...)",
        ),
        "strings": ({"x": np.full((5, 3), "blue"), "y": np.ones(5)}, "expected numbers"),
        "infinity": ({"x": np.full((5, 3), np.inf), "y": np.ones(5)}, "NaN or infinity"),
        "targets of another shape": ({"x": np.ones((5, 3)), "y": np.ones((5, 2))}, "(5, 1)"),
        "pickled objects": ({"x": np.array([{}] * 5), "y": np.ones(5)}, "plain arrays"),
    }
    data = data.with_suffix(".npz")
    if name in arrays:
        np.savez(data, **arrays[name][0])
        return _arguments(model, data, output), arrays[name][1]
    np.savez(data, x=np.ones((5, 3)), y=np.ones(5))
    broken = tmp_path / "broken.keras"
    broken.write_bytes(model.read_bytes()[:-500])
    folder, file = tmp_path / "arrays", tmp_path / "arrays.h5"
    folder.mkdir()
    np.save(folder / "x.npy", np.ones((5, 3)))
    with h5py.File(file, "w") as datasets:
        datasets["x"], datasets["y"] = np.full((5, 3), np.nan), np.ones(5)
    calls: dict[str, tuple[list[str], str]] = {
        "a folder without targets": (_arguments(model, folder, output), "y.npy"),
        "an HDF5 file without targets": (
            _arguments(model, _empty_hdf5(tmp_path), output),
            "no dataset x and no dataset y",
        ),
        "NaN in a stream": (_arguments(model, file, output), "5 of 5 rows"),
        "a split of a stream": (
            _arguments(model, file, output, "--validation-split", "0.5"),
            "--validation-split",
        ),
        "missing model": (_arguments(tmp_path / "none.keras", data, output), "none.keras"),
        "truncated model": (_arguments(broken, data, output), "broken.keras"),
        "missing data": (_arguments(model, tmp_path / "none.npz", output), "none.npz"),
        "data of another kind": (_arguments(model, model, output), "expected a .npz file"),
        "no folder for the output": (
            _arguments(model, data, tmp_path / "none" / "fitted.keras"),
            "make it first",
        ),
        "a folder as the output": (_arguments(model, data, tmp_path), ".keras"),
        "an output of another kind": (_arguments(model, data, tmp_path / "fitted.h5"), ".keras"),
        "no folder for the history": (
            _arguments(model, data, output, "--history", str(tmp_path / "none" / "h.csv")),
            "h.csv",
        ),
        "a split without training samples": (
            _arguments(model, data, output, "--validation-split", "0.95"),
            "--validation-split",
        ),
        "a target for npz": (_arguments(model, data, output, "--target", "y"), "--target"),
        "targets outside the loss": (
            _arguments(model, data, output, "--loss", "sparse_categorical_crossentropy"),
            "class indices",
        ),
    }
    return calls[name]


@pytest.mark.parametrize(
    "name",
    [
        "text in the data", "text as the target", "an empty cell", "semicolons",
        "NaN in the data", "a short line", "an empty file", "no samples", "no such column", "too few inputs",
        "one column twice", "different lengths", "no array y", "strings", "infinity", "targets of another shape", "pickled objects",
        "missing model", "truncated model", "missing data", "data of another kind", "no folder for the output", "a folder as the output",
        "an output of another kind", "no folder for the history", "a split without training samples", "a target for npz",
        "targets outside the loss", "a folder without targets", "an HDF5 file without targets", "NaN in a stream", "a split of a stream",
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_and_code_2(
    name: str, tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, named = _wrong(tmp_path, model_file, name)
    before = sorted(tmp_path.iterdir())
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("lmjax fit: error: ")
    assert error.count("\n") == 1
    assert named in error
    assert sorted(tmp_path.iterdir()) == before


def test_unwritable_output_is_noticed_before_training(
    model_file: Path, npz_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "fitted.keras"
    output.write_text("precious")
    # The tests may run as root, who may write anywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(
        "bridge._src.command.fit.train",
        lambda *_, **__: pytest.fail("trained although the output cannot be written"),
    )
    assert main(_arguments(model_file, npz_file, output)) == 2
    assert output.read_text() == "precious"


@pytest.mark.slow
def test_failed_write_leaves_the_old_file(
    model_file: Path, npz_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "fitted.keras"
    output.write_text("precious")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main(_arguments(model_file, npz_file, output, "--epochs", "1", "-q")) == 2
    assert output.read_text() == "precious"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "0"],
        ["--validation-split", "1"],
        ["--loss", "mad"],
        ["--dtype", "int8"],
        ["--standardize=outputs"],
    ],
)
def test_wrong_options_end_in_code_2(
    arguments: list[str], model_file: Path, npz_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(_arguments(model_file, npz_file, tmp_path / "fitted.keras", *arguments))
    assert stop.value.code == 2


def test_frozen_model_has_nothing_to_fit(
    npz_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.trainable = False
    model.save(tmp_path / "frozen.keras")
    assert main(_arguments(tmp_path / "frozen.keras", npz_file, tmp_path / "fitted.keras")) == 2
    assert "no weight is trainable" in capsys.readouterr().err
