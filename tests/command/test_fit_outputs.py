"""What ``lmjax fit`` writes: never onto what it reads, and somewhere else where the output cannot be written after the training."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bridge.command import main


def test_outputs_onto_inputs_are_refused_before_training(
    model_file: Path, csv_file: Path, table: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.command.fit.train", lambda *_, **__: pytest.fail("trained although an input would be overwritten"))
    model, output, folder = tmp_path / "m.keras", tmp_path / "f.keras", tmp_path / "arrays"
    model.write_bytes(model_file.read_bytes())
    folder.mkdir()
    for name, array in (("x", table[:, :3]), ("y", table[:, 3:])):
        np.save(folder / f"{name}.npy", array)
    (tmp_path / "link.csv").symlink_to(csv_file)
    os.link(csv_file, tmp_path / "hard.csv")
    (tmp_path / "to-data.keras").symlink_to(csv_file)
    (tmp_path / "to-array.keras").symlink_to(folder / "x.npy")
    (tmp_path / "to-output.csv").symlink_to(output)
    contents = {path: path.read_bytes() for path in (csv_file, model, folder / "x.npy", folder / "y.npy")}
    cases = [
        (csv_file, output, csv_file, "the data"),
        (csv_file, output, tmp_path / "link.csv", "the data"),
        (csv_file, output, tmp_path / "hard.csv", "the data"),
        (csv_file, output, model, "the model"),
        (csv_file, output, output, "the trained model"),
        (csv_file, output, tmp_path / "to-output.csv", "the trained model"),
        (csv_file, tmp_path / "to-data.keras", None, "the data"),
        (folder, output, folder / "y.npy", "the data"),
        (folder, tmp_path / "to-array.keras", None, "the data"),
    ]
    for data, target, history, named in cases:
        arguments = ["fit", str(model), str(data), "-o", str(target)]
        arguments += ["--target", "height"] if data == csv_file else []
        assert main(arguments + ([] if history is None else ["--history", str(history)])) == 2
        assert f"would overwrite {named} " in capsys.readouterr().err
    assert main(["fit", str(model), str(csv_file), "--target", "height", "-o", str(output), "--history", "/dev/null"]) == 2
    assert "/dev/null cannot be written: it is a device" in capsys.readouterr().err
    assert main(["fit", str(model), str(csv_file), "--target", "height", "-o", str(tmp_path / ("m" * 250 + ".keras"))]) == 2
    assert "shorter name" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in contents} == contents
    assert not output.exists()
