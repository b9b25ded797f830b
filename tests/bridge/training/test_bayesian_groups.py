"""``bridge.fit`` with ``regularization="bayesian"``: names, groups, and what does not go with it."""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np
import pytest

import bridge
import lmjax

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (60, 2))
Y = np.sin(3 * X[:, :1]) + 0.05 * RANDOM.normal(size=(60, 1))


def a_model(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(3, "tanh", name="hidden", **options)
    model = keras.Sequential([keras.Input((2,)), hidden, keras.layers.Dense(1, name="out")])
    model.compile(loss="mse")
    return model


def test_groups_are_given_and_told_by_the_names_of_layers() -> None:
    history = bridge.fit(a_model(), X, Y, epochs=3, regularization="bayesian", verbose=0)
    arrays = ["hidden/bias", "hidden/kernel", "out/bias", "out/kernel"]
    assert sorted(history.posterior.precisions) == arrays
    assert sorted(history.posterior.effective_params) == arrays
    inputs = np.arange(2)[:, None] * np.ones((1, 3), int)
    each = lmjax.Bayesian({"hidden": {"kernel": inputs, "bias": 2}, "out": 3})
    history = bridge.fit(a_model(), X, Y, epochs=40, regularization=each, verbose=0)
    precisions = history.posterior.precisions
    assert list(precisions) == [f"group {number}" for number in range(4)]
    assert precisions["group 1"] > 3 * precisions["group 0"]  # the second input says nothing


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"hidden": 0, "last": 1}, r"groups: expected whole numbers for \['hidden', 'out'\]"),
        ({"hidden": {"kernel": 0}, "out": 1}, r"groups\['hidden'\]: .*\['kernel', 'bias'\]"),
        ({"hidden": {"kernel": {"a": 0}, "bias": 0}, "out": 1}, r"for an array, as in"),
    ],
    ids=["layer", "array", "depth"],
)
def test_groups_of_other_names_are_refused(groups: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bridge.fit(a_model(), X, Y, regularization=lmjax.Bayesian(groups), verbose=0)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kernel_regularizer": "l2"}, "hidden/kernel: regularizer L2"),
        ({"bias_constraint": "non_neg"}, "hidden/bias: constraint NonNeg"),
        ({"activity_regularizer": "l1"}, "hidden: activity regularizer L1"),
    ],
    ids=["regularizer", "constraint", "activity"],
)
def test_penalties_and_limits_of_layers_are_refused_by_name(
    options: dict[str, str], named: str
) -> None:
    with pytest.raises(ValueError, match=f"build the model without these:\n  - {named}"):
        bridge.fit(a_model(**options), X, Y, regularization="bayesian", verbose=0)


def test_a_second_fit_and_its_posterior_compile_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def predicted() -> Any:
        fitted = bridge.fit(a_model(), X, Y, epochs=2, regularization="bayesian", verbose=0)
        return fitted.posterior.predict_interval(X[:7])

    first = predicted()
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        second = predicted()
    assert not [record.message for record in caplog.records if "Compiling" in record.message]
    np.testing.assert_array_equal(second.lower, first.lower)


def test_a_state_says_that_the_regularization_is_another() -> None:
    begun = bridge.fit(a := a_model(), X, Y, epochs=2, regularization="bayesian", verbose=0)
    with pytest.raises(ValueError, match=r"another regularization, Bayesian.*, and here is none"):
        bridge.fit(a, X, Y, epochs=2, state=begun.state, verbose=0)
    one = lmjax.Bayesian("one")
    with pytest.raises(ValueError, match=r"another regularization, Bayesian.'arrays'"):
        bridge.fit(a, X, Y, epochs=2, state=begun.state, regularization=one, verbose=0)
