"""``lmjax fit`` on tables: columns by name, weights, and other files to validate on."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

import bridge
from bridge._src.command.main import main


def _loss(path: Path, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    model = bridge.from_keras(path, "float64")
    squares = (np.asarray(model(model.params, x)) - y)[:, 0] ** 2
    kernel = np.asarray(next(iter(model.params.values()))["kernel"])
    return float(np.mean(weights * squares)) + 1e-5 * float(np.sum(kernel**2))


@pytest.mark.slow
def test_weights_and_validation_data_go_by_the_names_of_columns(
    model_file: Path, table: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In whatever order the files have them, beside an index and a column of text."""
    weights = np.linspace(0, 2, len(table))
    scaled = np.column_stack([table / np.abs(table).max(axis=0), weights])
    training, held_out = tmp_path / "data.csv", tmp_path / "other.tsv"
    lines = [",note,a,b,c,height,w"]
    lines += [
        f"{k},text,{','.join(map(repr, map(float, row)))}" for k, row in enumerate(scaled[:80])
    ]
    training.write_text("\n".join(lines) + "\n")
    lines = ["w\theight\tc\tb\ta"]
    lines += ["\t".join(map(repr, map(float, row[::-1]))) for row in scaled[80:]]
    held_out.write_text("\n".join(lines) + "\n")
    fitted, history = tmp_path / "fitted.keras", tmp_path / "history.csv"
    command = ["fit", "--target", "height", str(model_file), "--ignore", "note", str(training)]
    command += ["--sample-weight", "w", "--validation-data", str(held_out), "-o", str(fitted)]
    assert main([*command, "--epochs", "5", "--history", str(history), "-v"]) == 0
    streams = capsys.readouterr()
    assert "80 samples, 40 held out, inputs a, b, c" in streams.out
    assert "column 0 has no name and is left out" in streams.err
    last = np.genfromtxt(history, delimiter=",", names=True)[-1]
    for name, rows in (("loss", scaled[:80]), ("val_loss", scaled[80:])):
        expected = _loss(fitted, rows[:, :3], rows[:, 3:4], rows[:, 4])
        assert last[name] == pytest.approx(expected, rel=1e-5)
    held_out.write_text("w\theight\tc\tb\n1\t2\t3\t4\n")
    assert main(command) == 2
    assert "other.tsv: no column 'a'; it has columns w, height, c, b" in capsys.readouterr().err


def test_standard_input_is_one_file_only(
    model_file: Path,
    csv_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["fit", str(model_file), "-", "--target", "height", "-o", str(tmp_path / "f.keras")]
    assert main([*command, "--validation-data", "-"]) == 2
    assert "standard input can be one file of data only" in capsys.readouterr().err
    content = io.BufferedReader(io.BytesIO(csv_file.read_bytes()))  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    assert main([*command, "--epochs", "1"]) == 0
    assert "standard input: 120 samples, inputs a, b, c" in capsys.readouterr().out
