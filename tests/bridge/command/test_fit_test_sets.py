"""``lmjax fit --test-split`` and ``--test-data``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge._src.command.data.samples import Data, split
from bridge._src.command.failure import CommandError
from bridge._src.command.main import main


def test_every_sample_is_in_one_set() -> None:
    data = Data(np.arange(50), np.arange(50))
    training, validation, test = split(data, 3, 0.2, 0.1)
    assert validation is not None
    assert test is not None
    assert (training.num_samples, validation.num_samples, test.num_samples) == (35, 10, 5)
    together = np.sort(np.concatenate([training.x, validation.x, test.x]))
    np.testing.assert_array_equal(together, data.x)
    alone = split(data, 3, 0.2).validation
    assert alone is not None
    np.testing.assert_array_equal(alone.x, validation.x)
    with pytest.raises(CommandError, match=r"--validation-split 0.5 and --test-split 0.5 of 50"):
        split(data, 3, 0.5, 0.5)
    with pytest.raises(CommandError, match="--test-split"):
        split(data._replace(streamed=True), 3, 0.0, 0.5)


def test_data_to_test_on(
    model_file: Path, csv_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns go by the names of those that are trained on; the loss is that of evaluate."""
    other, fitted = tmp_path / "other.csv", str(tmp_path / "fitted.keras")
    rows = np.random.default_rng(1).normal([-3000, 50, 0.01, 1], [500, 20, 0.002, 1], (9, 4))
    np.savetxt(other, rows, delimiter=",", header="c,a,b,height", comments="", fmt="%.17g")
    command = ["fit", str(model_file), str(csv_file), "--target", "height", "-o", fitted]
    assert main([*command, "--test-data", str(other), "--epochs", "2"]) == 0
    said = capsys.readouterr().out
    assert "120 samples, 9 to test on" in said
    assert main(["evaluate", fitted, str(other), "--target", "height", "--features", "a,b,c"]) == 0
    loss = float(capsys.readouterr().out.split()[1])
    (line,) = [line for line in said.splitlines() if line.startswith("test loss ")]
    assert float(line.split()[2]) == pytest.approx(loss, rel=1e-5)


def test_wrong_data_to_test_on_are_refused_before_the_training(
    model_file: Path,
    npz_file: Path,
    tmp_path: Path,
    table: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trained(*_: Any, **__: Any) -> None:
        pytest.fail("trained in vain")

    monkeypatch.setattr("bridge._src.command.fit.train", trained)
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, x=table[:, :2], y=table[:, 3:])
    command = ["fit", str(model_file), str(npz_file), "-o", str(tmp_path / "fitted.keras")]
    cases = [
        (["--test-data", str(wrong)], f"{wrong}: "),
        (["--test-split", "0.5", "--validation-split", "0.5"], "leaves none on one side"),
        (["--test-data", str(tmp_path / "none.npz")], "no such file"),
        (["--test-data", str(wrong), "--history", str(wrong)], "the data to test on"),
    ]
    for more, words in cases:
        assert main([*command, *more]) == 2
        assert words in capsys.readouterr().err
