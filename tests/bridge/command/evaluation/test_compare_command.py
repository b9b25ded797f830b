"""``lmjax compare``."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge._src.command.main import main

#: Every run has its seconds.
pytestmark = pytest.mark.slow


def test_it_prints_a_table_and_a_sentence(
    model_file: Path, csv_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model_file.read_bytes()
    picture = tmp_path / "losses.png"
    arguments = ["compare", str(model_file), str(csv_file), "--target", "height"]
    arguments += ["--validation-split", "0.25", "--seconds", "0.2", "--seeds", "1"]
    arguments += ["--rates", "0.01", "--plot", str(picture)]
    assert main(arguments) == 0
    said = capsys.readouterr()
    for name in ("Levenberg-Marquardt", "Adam (rate 0.01)", "L-BFGS", "val_loss", "held-out"):
        assert name in said.out
    assert "start 1 of 1: Levenberg-Marquardt: loss" in said.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert model_file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "0"], "above 0"),
        (["--rates", "0.1,-1"], "above 0"),
        (["--plot", "losses.txt"], "has to end in .png"),
        (["--target", "depth"], "depth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_wrong_input_is_one_line(
    arguments: list[str],
    message: str,
    model_file: Path,
    csv_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["compare", str(model_file), str(csv_file), "--target", "height", *arguments]
    try:
        code = main(given)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_data_to_be_streamed_are_refused(
    model_file: Path, tmp_path: Path, table, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    np.save(tmp_path / "x.npy", table[:, :3])
    np.save(tmp_path / "y.npy", table[:, 3:])
    assert main(["compare", str(model_file), str(tmp_path)]) == 2
    assert "needs its data in memory" in capsys.readouterr().err
