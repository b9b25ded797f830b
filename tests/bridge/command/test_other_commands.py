"""``lmjax``, ``lmjax info`` and ``lmjax demo``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from bridge._src.command.demonstration import curve
from bridge._src.command.main import main


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["fit", "--help"], ["info", "--help"], ["demo", "--help"]],
)
def test_help_goes_to_standard_output(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert "lmjax" in capsys.readouterr().out


def test_info_shows_layers_weights_and_cost(
    model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(model_file), "--samples", "500"]) == 0
    out = capsys.readouterr().out
    assert "kernel[3, 6]" in out
    assert "31 trainable numbers, 500 residuals" in out
    assert f"{2 * 500 * 31**2 / 1e9:.3g} GFLOP for the product JᵀJ" in out
    assert "solved by    Cholesky, a system of 31 equations" in out
    assert main(["info", str(model_file), "--samples", "4"]) == 0
    assert "solved by    DualCholesky, a system of 4 equations" in capsys.readouterr().out
    assert main(["info", str(model_file), "--samples", "100000"]) == 0
    out = capsys.readouterr().out
    assert "a system of 31 equations, from 512 of the samples; loss and gradient from all" in out
    assert f"{2 * 512 * 31**2 / 1e9:.3g} GFLOP for the product JᵀJ" in out


def test_info_tells_that_its_report_was_lost(
    model_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As coreutils do; a reader who has left has seen enough."""
    reading, writing = os.pipe()
    os.close(reading)
    with monkeypatch.context() as patched, os.fdopen(writing, "w") as left:
        patched.setattr(sys, "stdout", left)
        assert main(["info", str(model_file)]) == 0
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with monkeypatch.context() as patched, open("/dev/full", "w") as full:
        patched.setattr(sys, "stdout", full)
        assert main(["info", str(model_file)]) == 2
    assert capsys.readouterr().err == (
        "lmjax info: error: standard output cannot be written (No space left on device), "
        "so that the report is not complete\n"
    )


def test_info_names_all_layers_that_cannot_be_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    layers = keras.layers
    chain = [
        layers.Lambda(abs, name="contrast"),
        layers.Dense(2),
        layers.Lambda(abs, name="levels"),
    ]
    keras.Sequential([keras.Input((8, 8, 3)), *chain]).save(tmp_path / "model.keras")
    assert main(["info", str(tmp_path / "model.keras")]) == 1
    out = capsys.readouterr().out
    assert "contrast (Lambda): " in out
    assert "levels (Lambda): " in out


def test_info_on_a_model_without_trainable_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    keras.Sequential([keras.Input((3,)), keras.layers.Rescaling(2.0)]).save(
        tmp_path / "model.keras"
    )
    assert main(["info", str(tmp_path / "model.keras")]) == 0
    assert "nothing to fit" in capsys.readouterr().out


def test_info_on_open_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(5, 2),
            layers.GRU(3),
            layers.Dense(4),
        ]
    )
    model.save(tmp_path / "model.keras")
    assert main(["info", str(tmp_path / "model.keras"), "--samples", "10"]) == 0
    out = capsys.readouterr().out
    assert "40 residuals" in out
    assert "open size" in out


@pytest.mark.parametrize("path", ["none.keras", "none.h5"])
def test_info_on_a_missing_file(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(tmp_path / path)]) == 2
    assert path in capsys.readouterr().err


def test_demo_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sklearn" else object()
    )
    assert main(["demo", "--output", str(tmp_path)]) == 2
    assert "scikit-learn" in capsys.readouterr().err


@pytest.mark.slow
def test_demo_curve_has_the_certified_values() -> None:
    solution, problem = curve.fit()
    assert solution.status.success
    assert curve.certified_digits(solution.params, problem["certified_params"]).min() >= 6
    assert (
        curve.certified_digits(
            solution.standard_errors(), problem["certified_standard_errors"]
        ).min()
        >= 4
    )


def test_certified_digits() -> None:
    np.testing.assert_allclose(
        curve.certified_digits([1.0, 1.001, -1.0], [1.0, 1.0, 1.0]),
        [11, 3, -np.log10(2)],
        atol=1e-6,
    )


@pytest.mark.slow
def test_demo_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import keras

    assert main(["demo", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for stage in ("data ", "model ", "convert ", "train ", "compare ", "export "):
        assert out.count(f"  {stage}") >= 2
    for name in ("diabetes", "digits"):
        keras.models.load_model(tmp_path / f"{name}.keras", compile=False)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert out.count("loss on the held-out data") == 2
