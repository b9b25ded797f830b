"""``bridge.fit(state=)``: five epochs and five more are ten, though the model rounds between."""

from __future__ import annotations

import pickle
from typing import Any

import keras
import numpy as np
import pytest

import bridge

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (80, 2))
Y = np.sin(3 * X[:, :1]) * X[:, 1:] + 0.1 * RANDOM.normal(size=(80, 1))


def make() -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential([keras.Input((2,)), layers.Dense(5, "tanh"), layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    return model


def fit(model: Any, epochs: int, **options: Any) -> Any:
    return bridge.fit(model, X, Y, epochs=epochs, verbose=0, **options)


CASES: dict[str, dict[str, Any]] = {
    "validated batches": {"batch_size": 16, "validation_split": 0.25},
    "all rows": {},
    "standardized": {"standardize": "both"},
    "some epochs validated": {"validation_split": 0.25, "validation_freq": 3},
    "single": {"dtype": "float32"},
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow if place else ())
        for place, case in enumerate(CASES)
    ],
)
def test_five_epochs_and_five_more_are_ten(case: str) -> None:
    options, whole, parts = CASES[case], make(), make()
    history = fit(whole, 10, **options)
    begun = fit(parts, 5, **options)
    state = pickle.loads(pickle.dumps(begun.state))
    ended = fit(parts, 10, initial_epoch=5, state=state, **options)
    assert begun.epoch + ended.epoch == history.epoch
    for name, values in history.history.items():
        if name != "seconds":
            np.testing.assert_array_equal(begun.history[name] + ended.history[name], values, name)
    assert ended.status == history.status
    for ours, theirs in zip(parts.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_other_weights_models_and_things_are_refused() -> None:
    model = make()
    state = fit(model, 2).state
    model.set_weights([weights + 1 for weights in model.get_weights()])
    before = model.get_weights()
    for given, error, message in (
        (state, ValueError, "state: the model does not have the weights"),
        ({"epoch": 1}, TypeError, r"state: expected History\.state"),
    ):
        with pytest.raises(error, match=message):
            fit(model, 2, state=given)
    model = make()
    state = fit(model, 2).state
    with pytest.raises(ValueError, match="state: it is of a fit with standardize=None"):
        fit(model, 2, state=state, standardize="inputs")
    with pytest.raises(ValueError, match="state: it is of a fit with another x, y"):
        bridge.fit(model, X[:50], Y[:50], epochs=2, verbose=0, state=state)
    assert not np.array_equal(before[0], model.get_weights()[0])
