"""``lmjax fit`` computes the metrics of ``compile`` before and after the training."""

from __future__ import annotations

import csv
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge._src.command.evaluation import scores
from bridge._src.command.evaluation.metrics import Metrics
from bridge._src.command.main import main

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 2))
Y = np.sin(X[:, :1]) + 20


def saved(folder: Path, metrics: list[Any], **options: Any) -> Any:
    """A live model, whose file and data are in the folder."""
    import keras

    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(3, "tanh", **options), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile(loss="mse", metrics=metrics)
    model.save(folder / "model.keras")
    np.savez(folder / "data.npz", x=X, y=Y)
    np.savez(folder / "other.npz", x=X[:9], y=Y[:9])
    return model


def command(folder: Path, *more: str) -> list[str]:
    files = [str(folder / name) for name in ("model.keras", "data.npz", "fitted.keras")]
    return ["fit", *files[:2], "-o", files[2], "--epochs", "3", *more]


def numbers(line: str) -> dict[str, float]:
    """Names and values of a line that lists them."""
    return {name: float(value) for name, value in map(str.split, line.split(", "))}


def test_they_are_those_of_keras(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the last lines, the table of epochs and the page, for all data."""
    import keras

    model = saved(tmp_path, ["mae", keras.metrics.RootMeanSquaredError(name="root")])
    history, page = tmp_path / "history.csv", tmp_path / "report.html"
    others = [
        word
        for name in ("validation", "test")
        for word in (f"--{name}-data", tmp_path / "other.npz")
    ]
    arguments = command(
        tmp_path, *map(str, others), "--history", str(history), "--report", str(page)
    )
    assert main(arguments) == 0
    streams = capsys.readouterr()
    assert "metrics" not in streams.err
    fitted = keras.models.load_model(tmp_path / "fitted.keras", compile=False)
    fitted.compile(loss="mse", metrics=["mae", keras.metrics.RootMeanSquaredError(name="root")])
    found = {}
    for line in streams.out.splitlines():
        head, _, rest = line.partition(": ")
        if head.startswith("3 epochs, "):
            found["kept"] = numbers(rest)
        elif head == "before the training":
            found["start"] = numbers(rest)
        elif line.startswith("test "):
            found["test"] = numbers(line.removeprefix("test "))
    for name, keras_model in (("start", model), ("kept", fitted)):
        options = {"verbose": 0, "return_dict": True}
        expected = keras_model.evaluate(X, Y, **options)
        other = keras_model.evaluate(X[:9], Y[:9], **options)
        expected |= {f"val_{key}": value for key, value in other.items()}
        assert found[name] == pytest.approx(expected, rel=1e-5)
        if name == "kept":
            assert found["test"] == pytest.approx(other, rel=1e-5)
    with history.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    with_metrics = [row for row in rows if row["mae"]]
    for row, name in zip(with_metrics, ("start", "kept"), strict=True):
        assert {key: float(row[key]) for key in found[name]} == pytest.approx(found[name], rel=1e-5)
    for name in ("training", "validation", "test"):
        for key in ("mae", "root"):
            assert f"<th>{name} {key}</th><td>" in page.read_text()


@pytest.mark.parametrize(
    ("options", "more"),
    [
        pytest.param({}, ["--standardize", "both"], id="folded", marks=pytest.mark.slow),
        pytest.param({}, ["--warm-up", "5"], id="warmed up"),
        pytest.param(
            {"kernel_constraint": "non_neg"}, ["-q"], id="constrained", marks=pytest.mark.slow
        ),
        pytest.param({}, ["--standardize"], id="a layer in front", marks=pytest.mark.slow),
    ],
)
def test_the_start_is_that_of_the_training(
    options: dict[str, str], more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With weights read in other units, and moved by constraints: the loss is the squared error."""
    saved(tmp_path, ["mean_squared_error"], **options)
    history = tmp_path / "history.csv"
    assert main(command(tmp_path, *more, "--history", str(history))) == 0
    with history.open() as file:
        start, *_, last = list(csv.DictReader(file))
    for row in (start, last):
        assert float(row["mean_squared_error"]) == pytest.approx(float(row["loss"]), rel=1e-5)
    assert capsys.readouterr().err == ""


def test_what_cannot_be_computed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the training where that is known; the trained model is written anyway."""
    saved(tmp_path, ["mae"])
    fitted = tmp_path / "fitted.keras"
    broken: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
        (
            lambda patch: patch.setitem(sys.modules, "keras", None),
            "(a metric of compile() needs keras, which is not installed",
        ),
        (
            lambda patch: patch.setattr(Metrics, "values", raising(ValueError("no\nsuch"))),
            "(no such)",
        ),
        (
            lambda patch: patch.setattr(Metrics, "values", raising(KeyboardInterrupt())),
            "(interrupted)",
        ),
    ]
    for breaks, reason in broken:
        with monkeypatch.context() as patch:
            breaks(patch)
            assert main(command(tmp_path)) == 0
        streams = capsys.readouterr()
        assert streams.err.startswith(
            "lmjax fit: the metric mae of compile() will not be computed, only losses; "
        )
        assert reason in streams.err
        assert streams.err.count("\n") == 1
        assert "before the training" not in streams.out
        assert f"wrote {fitted}" in streams.out
        fitted.unlink()


def raising(error: BaseException) -> Callable[..., Any]:
    def raises(*_: Any) -> Any:
        raise error

    return raises


def test_nobody_waits_for_them_after_a_signal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, ["mae"])
    monkeypatch.setattr(Metrics, "values", lambda *_: pytest.fail("computed"))
    trained = scores.scores_of

    def stopped(*given: Any, stopped: bool) -> Any:
        assert stopped == (signal.SIGINT in sent)
        return trained(*given, stopped=stopped)

    sent: list[int] = []
    monkeypatch.setattr("bridge._src.command.fit.scores_of", stopped)

    def train(*given: Any, **options: Any) -> Any:
        from bridge._src.training.train import train

        def interrupts(epoch: int, logs: dict[str, float]) -> None:
            sent.append(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        return train(*given, **options, callbacks=interrupts)

    monkeypatch.setattr("bridge._src.command.fit.train", train)
    assert main(command(tmp_path, "--epochs", "50")) == 130
    assert "(a signal has ended the training)" in capsys.readouterr().err
