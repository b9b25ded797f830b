"""The benchmark on the sets of UCI, by a set of its own in their layout."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import uci


def write_set(folder: Path) -> None:
    """Two splits of a noisy line."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2))
    data = folder / "line" / "data"
    data.mkdir(parents=True)
    y = 100 + 10 * x[:, 0] + random.normal(size=60)
    np.savetxt(data / "data.txt", np.c_[x, y])
    np.savetxt(data / "index_features.txt", [0, 1], fmt="%d")
    np.savetxt(data / "index_target.txt", [2], fmt="%d")
    for number in range(2):
        rows = random.permutation(60)
        np.savetxt(data / f"index_train_{number}.txt", rows[6:], fmt="%d")
        np.savetxt(data / f"index_test_{number}.txt", rows[:6], fmt="%d")


@pytest.mark.slow
def test_a_set_in_that_layout_has_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path)
    options = ["--sets", "line", "--starts", "1", "--epochs", "40"]
    monkeypatch.setattr(sys, "argv", ["uci", str(tmp_path), *options])
    uci.main()
    assert "line (2 splits)" in capsys.readouterr().out
    split = uci.read(tmp_path / "line", 1)
    assert split.x.shape == (54, 2)
    assert split.new_y.shape == (6, 1)
    found = uci.score(split, 1, 1, 40, "arrays")
    assert 0.3 < found.rmse < 2.5
    assert found.log_likelihood > -3
