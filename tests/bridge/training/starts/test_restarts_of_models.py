"""``bridge.fit`` and ``lmjax fit`` from several starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import bridge
from bridge._src.command.main import main

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (90, 1))
Y = np.sin(5 * X) + 0.1 * RANDOM.normal(size=(90, 1))


def a_model(units: int = 4) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(units, "tanh"), keras.layers.Dense(1)]
    )
    model.compile(loss="mse")
    return model


def test_the_model_gets_the_weights_of_the_best_start() -> None:
    model = a_model()
    history = bridge.fit(model, X, Y, epochs=15, validation_split=0.2, restarts=4, verbose=0)
    assert len(history.restarts) == 4
    losses = [end.val_loss for end in history.restarts]
    assert history.best_start == int(np.argmin(losses))
    found = model.evaluate(X[72:], Y[72:], verbose=0)
    assert found == pytest.approx(min(losses), rel=1e-5)
    alone = bridge.fit(a_model(), X, Y, epochs=15, validation_split=0.2, verbose=0)
    assert min(losses) <= alone.history["val_loss"][alone.best_epoch] * (1 + 1e-6)
    again = a_model()
    bridge.fit(again, X, Y, epochs=15, validation_split=0.2, restarts=4, verbose=0)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_callbacks_and_metrics_follow_the_best() -> None:
    model = a_model()
    model.compile(loss="mse", metrics=["mae"])
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["loss"], logs["mae"]))
    )
    history = bridge.fit(model, X, Y, epochs=5, restarts=3, callbacks=[record], verbose=0)
    assert [epoch for epoch, *_ in seen] == history.epoch
    assert [loss for _, loss, _ in seen] == history.history["loss"]
    assert len(history.restarts) == 3
    found = dict(zip(("loss", "mae"), model.evaluate(X, Y, verbose=0), strict=True))
    for name, value in found.items():
        assert value == pytest.approx(history.history[name][history.best_epoch], rel=1e-5)


def test_other_starts_are_weights_of_the_standardised_network() -> None:
    model = a_model()
    far = {"x": 1e4 * X + 1e5, "y": 1e-3 * Y}
    history = bridge.fit(model, **far, epochs=30, restarts=4, standardize="both", verbose=0)
    variance = np.var(far["y"])
    assert history.history["loss"][-1] < 0.1 * variance
    assert all(end.loss < 0.5 * variance for end in history.restarts)
    assert model.evaluate(**far, verbose=0) < 0.1 * variance


def test_the_command_takes_restarts_and_rounds_of_adam(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_model().save(tmp_path / "model.keras")
    np.savetxt(tmp_path / "data.csv", np.c_[X, Y], delimiter=",", header="x,y", comments="")
    files = [str(tmp_path / "model.keras"), str(tmp_path / "data.csv")]
    made = ["fit", *files, "--target", "y", "-o", str(tmp_path / "fitted.keras"), "--epochs", "6"]
    assert main([*made, "--restarts", "3"]) == 0
    assert "of 3" in capsys.readouterr().out
    assert main([*made, "--warm-up", "3", "--warm-up-every", "2"]) == 0
    capsys.readouterr()
    assert main([*made, "--warm-up-every", "2"]) != 0
    assert "--warm-up-every: pass the steps of Adam as --warm-up" in capsys.readouterr().err
    assert main([*made, "--bayesian", "--batch-size", "10"]) != 0
    assert "--batch-size: not with --bayesian" in capsys.readouterr().err
    assert main([*made, "--bayesian", "--loss", "mae"]) != 0
    assert "--bayesian needs a loss that is a likelihood" in capsys.readouterr().err


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="restarts: "):
        bridge.fit(a_model(), X, Y, restarts=0, verbose=0)
