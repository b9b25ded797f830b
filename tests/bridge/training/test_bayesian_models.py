"""Bayesian regularization of Keras models, and what their histories tell of predictions."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import bridge
import lmjax
from bridge._src.command.main import main

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (80, 2))
Y = np.sin(3 * X[:, :1]) * X[:, 1:] + 0.1 * RANDOM.normal(size=(80, 1))
NEW = RANDOM.uniform(-1, 1, (7, 2))


#: Whatever tests went before, each draws the same numbers.
STATE = RANDOM.bit_generator.state


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    RANDOM.bit_generator.state = STATE


def a_model(outputs: int = 1, activation: str | None = None, loss: str = "mse") -> Any:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, "tanh"), keras.layers.Dense(outputs, activation)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile(loss=loss, metrics=["mae"] if loss == "mse" else ["accuracy"])
    return model


def fit(model: Any, x: Any = X, y: Any = Y, **options: Any) -> Any:
    options = {"epochs": 60, "verbose": 0, "regularization": "bayesian"} | options
    return bridge.fit(model, x, y, **options)


def test_the_posterior_is_around_the_weights_of_the_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = a_model()
    history = fit(model, verbose=2)
    assert "parameters determined, noise" in capsys.readouterr().out
    mean, std = history.posterior.predict(NEW)
    np.testing.assert_allclose(mean, model.predict(NEW, verbose=0), rtol=1e-4, atol=1e-5)
    assert history.posterior.noise_std == pytest.approx(0.1, rel=0.3)
    assert (std >= history.posterior.noise_std).all()
    assert history.history["loss"][-1] == pytest.approx(
        model.evaluate(X, Y, verbose=0)[0], rel=1e-5
    )
    assert history.posterior.num_params == model.count_params()
    with pytest.raises(ValueError, match="posterior"):
        _ = pickle.loads(pickle.dumps(history)).posterior


@pytest.mark.slow
def test_units_of_the_data_are_those_of_predictions() -> None:
    """A fit of standardised numbers gives the same in other units."""
    scale = np.array([100.0, 0.01])
    near, far = a_model(), a_model()
    one = fit(near, standardize="both").posterior
    other = fit(far, X * scale + 5 * scale, 1000 * Y + 7, standardize="both").posterior
    assert other.noise_std == pytest.approx(1000 * one.noise_std, rel=1e-3)
    assert other.num_effective_params == pytest.approx(one.num_effective_params, rel=1e-3)
    mean, std = one.predict(NEW)
    far_mean, far_std = other.predict(NEW * scale + 5 * scale)
    np.testing.assert_allclose(far_mean, 1000 * mean + 7, rtol=1e-3)
    np.testing.assert_allclose(far_std, 1000 * std, rtol=1e-3)


def test_inputs_are_taken_as_the_model_takes_them() -> None:
    keras.utils.set_random_seed(0)
    a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
    hidden = keras.layers.Dense(6, "tanh")(keras.layers.Concatenate()([a, b]))
    model = keras.Model([a, b], keras.layers.Dense(1)(hidden))
    model.compile(loss="mse")
    history = fit(model, {"b": X[:, 1:], "a": X[:, :1]})
    wanted = model.predict([NEW[:, :1], NEW[:, 1:]], verbose=0)
    for given in ([NEW[:, :1], NEW[:, 1:]], {"b": NEW[:, 1:], "a": NEW[:, :1]}):
        np.testing.assert_allclose(history.posterior.predict(given).mean, wanted, atol=1e-4)
    flat = fit(a_model(), pd.DataFrame(X))
    np.testing.assert_allclose(
        flat.posterior.predict(pd.DataFrame(NEW)).mean, flat.posterior.predict(NEW).mean
    )


def test_starts_and_their_mixture() -> None:
    history = fit(a_model(), restarts=3)
    assert len(history.restarts) == len(history.mixture.posteriors) == 3
    evidences = [one.log_evidence for one in history.mixture.posteriors]
    assert history.posterior.log_evidence == pytest.approx(max(evidences), rel=1e-6)
    assert history.best_start == int(np.argmax(evidences))
    mean, std = history.mixture.predict(NEW)
    lower, upper = history.mixture.predict_interval(NEW, 0.9)
    assert ((lower < mean) & (mean < upper)).all()
    assert mean.shape == std.shape == (7, 1)
    single = lmjax.Mixture([history.posterior])
    np.testing.assert_allclose(single.predict(NEW).std, history.posterior.predict(NEW).std)
    np.testing.assert_allclose(
        single.predict_interval(NEW)[0], history.posterior.predict_interval(NEW)[0], rtol=1e-9
    )
    density = single.log_density(NEW, mean)
    assert density.shape == (7, 1)
    assert history.mixture.sample(0, NEW, 50).shape == (50, 7, 1)
    assert lmjax.Mixture(history.mixture.posteriors, "evidence").weights.sum() == pytest.approx(1)
    for weights in ([1.0], [0.0, 0.0, 0.0], "best"):
        with pytest.raises(ValueError, match="weights"):
            lmjax.Mixture(history.mixture.posteriors, weights)  # type: ignore[arg-type]


@pytest.mark.slow
def test_quantiles_of_a_mixture_are_those_of_its_draws() -> None:
    history = fit(a_model(), restarts=3, epochs=15)
    lower, upper = history.mixture.predict_interval(
        NEW, 0.8, kind="confidence", calibration="plain"
    )
    drawn = history.mixture.sample(1, NEW, 40_000)
    spread = upper - lower
    np.testing.assert_allclose(np.quantile(drawn, 0.1, axis=0), lower, atol=0.03 * spread.max())
    np.testing.assert_allclose(np.quantile(drawn, 0.9, axis=0), upper, atol=0.03 * spread.max())


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        pytest.param("categorical_crossentropy", marks=pytest.mark.slow),
    ],
)
def test_classes(loss: str) -> None:
    labels = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)
    y = labels if loss.startswith("sparse") else np.eye(3)[labels]
    history = fit(a_model(3, "softmax", loss), y=y)
    posterior = history.posterior
    assert posterior.noise_std is None
    mean, std = posterior.predict(NEW)
    np.testing.assert_allclose(mean.sum(axis=1), 1, rtol=1e-6)
    assert std.shape == (7, 3)
    plain = posterior.predict(X).mean
    chances = posterior.predict_probabilities(X)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-9)
    assert -np.mean(np.log(chances.max(axis=1))) > -np.mean(np.log(plain.max(axis=1)))
    probit = posterior.predict_probabilities(X, method="probit")
    np.testing.assert_allclose(probit.sum(axis=1), 1, rtol=1e-9)
    assert np.abs(probit - chances).mean() < 0.03  # rough for single rows


@pytest.mark.parametrize("from_logits", [False, True], ids=["probabilities", "logits"])
def test_two_classes(from_logits: bool) -> None:
    y = (X[:, :1] + X[:, 1:] + 0.3 * RANDOM.normal(size=(80, 1)) > 0).astype(float)
    model = a_model(1, None if from_logits else "sigmoid")
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=from_logits))
    posterior = fit(model, y=y).posterior
    far = np.array([[0.1, 0.05], [40.0, -39.0]])
    chances = posterior.predict_probabilities(far)
    drawn = posterior.predict_probabilities(far, method="samples", n=40_000)
    np.testing.assert_allclose(chances, drawn, atol=0.03)
    with pytest.raises(ValueError, match="method: expected"):
        posterior.predict_probabilities(far, method="mean")
    with pytest.raises(ValueError, match="predict_probabilities: the fit had no crossentropy"):
        fit(a_model(), epochs=2).posterior.predict_probabilities(far)


def test_what_does_not_go_with_it_is_refused_before_anything_happens() -> None:
    plain = a_model()
    two = keras.Model(plain.inputs, [plain.outputs[0], plain.layers[0].output])
    two.compile(loss=["mse", "mse"])
    with pytest.raises(ValueError, match="of one output"):
        fit(two, y=[Y, np.repeat(Y, 8, axis=1)])


def test_the_command_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_model().save(tmp_path / "model.keras")
    np.savetxt(tmp_path / "data.csv", np.c_[X, Y], delimiter=",", header="a,b,y", comments="")
    files = [str(tmp_path / "model.keras"), str(tmp_path / "data.csv")]
    made = ["fit", *files, "--target", "y", "-o", str(tmp_path / "fitted.keras"), "--bayesian"]
    assert main([*made, "--epochs", "20", "--restarts", "2"]) == 0
    assert "parameters determined, noise" in capsys.readouterr().out
    assert main([*made, "--batch-size", "8"]) != 0
    assert "--batch-size: not with --bayesian" in capsys.readouterr().err
