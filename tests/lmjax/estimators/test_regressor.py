"""``lmjax.sklearn.LMRegressor``."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lmjax
from lmjax.sklearn import LMRegressor

_RANDOM = np.random.default_rng(0)
NOISE = 0.1
X = _RANDOM.uniform(-2, 2, (122, 2))
Y = np.sin(2 * X[:, 0]) + X[:, 1] + NOISE * _RANDOM.normal(size=122)


def model(**options: Any) -> LMRegressor:
    return LMRegressor(**{"hidden_layer_sizes": (6,), "epochs": 40, "random_state": 0} | options)


def raw_outputs(fitted: LMRegressor, x: np.ndarray) -> np.ndarray:
    """By the public weights."""
    for kernel, bias in zip(fitted.coefs_[:-1], fitted.intercepts_[:-1], strict=True):
        x = np.tanh(x @ kernel + bias)
    return x @ fitted.coefs_[-1] + fitted.intercepts_[-1]


def test_what_a_fit_leaves(caplog: pytest.LogCaptureFixture) -> None:
    units = 1e3 + 50 * X
    fitted = model().fit(units, 7e-4 * Y)
    assert fitted.score(units, 7e-4 * Y) > 0.97
    assert fitted.n_features_in_ == 2
    assert fitted.n_iter_ == len(fitted.loss_curve_) == len(fitted.history_["damping"])
    assert fitted.loss_ == min(fitted.loss_curve_) == fitted.loss_curve_[fitted.best_epoch_]
    assert isinstance(fitted.status_, lmjax.Status)
    # a loss of 1 - R², and the penalty
    assert 0 < fitted.loss_ - (1 - fitted.score(units, 7e-4 * Y)) < 1e-3
    np.testing.assert_allclose(raw_outputs(fitted, units)[:, 0], fitted.predict(units), rtol=1e-9)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(units), fitted.predict(units))
    # another estimator, with other weights, on a row less
    with jax.log_compiles(), caplog.at_level("WARNING"):
        model(alpha=0.1, epochs=20, random_state=1).fit(X[1:], Y[1:], np.arange(121))
        for count in (1, 2, 50):
            fitted.predict(units[:count])
    assert "Compiling" not in caplog.text


def test_equal_seeds_give_equal_fits_and_alpha_smaller_weights() -> None:
    first, second, strong = (model(alpha=alpha).fit(X, Y) for alpha in (1e-4, 1e-4, 100.0))
    np.testing.assert_array_equal(first.coefs_[0], second.coefs_[0])
    assert clone(first).get_params() == first.get_params()
    size = [sum(np.sum(layer["kernel"] ** 2) for layer in one._params) for one in (first, strong)]
    assert size[1] < 0.2 * size[0]


def test_it_works_in_pipelines_and_searches() -> None:
    pipeline = make_pipeline(StandardScaler(), model(standardize=False, epochs=20))
    search = GridSearchCV(pipeline, {"lmregressor__alpha": [1e-3, 1e3]}, cv=3).fit(X, Y)
    assert search.best_params_ == {"lmregressor__alpha": 1e-3}
    assert search.best_score_ > 0.9
    assert cross_val_score(model(), X, Y, cv=3).min() > 0.9


@pytest.mark.slow
def test_weights_count_as_repeated_rows() -> None:
    weights = np.array([0, 1, 2, 3] * 10)
    weighted = model(hidden_layer_sizes=()).fit(X[:40], Y[:40], weights)
    repeated = model(hidden_layer_sizes=()).fit(
        np.repeat(X[:40], weights, axis=0), np.repeat(Y[:40], weights)
    )
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-6)
    assert weighted.loss_ == pytest.approx(repeated.loss_, rel=1e-9)
    rescaled = model(hidden_layer_sizes=(), alpha=0).fit(X[:40], Y[:40], 1e-3 * weights)
    free = model(hidden_layer_sizes=(), alpha=0).fit(X[:40], Y[:40], weights)
    np.testing.assert_allclose(rescaled.predict(X), free.predict(X), rtol=1e-6)


def test_bayesian_predictions_have_deviations() -> None:
    fitted = model(regularization="bayesian").fit(X, 5 * Y)
    mean, std = fitted.predict(X, return_std=True)
    assert mean.shape == std.shape == (122,)
    np.testing.assert_allclose(mean, fitted.predict(X), rtol=1e-9)
    assert 0.7 * 5 * NOISE < np.median(std) < 1.4 * 5 * NOISE
    assert fitted.posterior_.noise_std * (5 * Y).std() == pytest.approx(5 * NOISE, rel=0.3)
    # reported without the penalty, of 122 rows, which were filled up to 124
    assert fitted.loss_ == pytest.approx(1 - fitted.score(X, 5 * Y), rel=1e-9)
    lower, upper = fitted.predict_interval(X, level=0.8)
    assert 0.75 < np.mean((lower < 5 * Y) & (upper > 5 * Y)) < 0.95
    far = fitted.predict(np.array([[9.0, 9.0]]), return_std=True)[1]
    assert far[0] > 2 * np.median(std)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X, return_std=True)[1], std)


def test_without_a_posterior_deviations_are_refused() -> None:
    with pytest.raises(NotFittedError):
        model().predict(X, return_std=True)
    fitted = model().fit(X, Y)
    for call in (lambda: fitted.predict(X, return_std=True), lambda: fitted.predict_interval(X)):
        with pytest.raises(ValueError, match="with regularization='bayesian'"):
            call()
    assert fitted.posterior_ is None


@pytest.mark.slow
def test_several_targets_and_their_shapes() -> None:
    both = np.stack([Y, 1e3 * X[:, 0] ** 2], axis=1)
    fitted = model(regularization="bayesian").fit(X, both)
    mean, std = fitted.predict(X, return_std=True)
    assert mean.shape == std.shape == both.shape
    assert fitted.score(X, both) > 0.95
    assert std[0, 1] > 100 * std[0, 0]
    assert model().fit(X, Y[:, None]).predict(X).shape == (122, 1)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"regularization": "bayesian"}, {"batch_size": 30}])
def test_single_precision(options: dict[str, Any]) -> None:
    before = jax.config.jax_enable_x64
    fitted = model(dtype="float32", **options).fit(X, Y)
    assert fitted.predict(X).dtype == np.float32
    assert fitted.score(X, Y) > 0.95
    assert jax.config.jax_enable_x64 == before


@pytest.mark.slow
def test_rows_held_out_end_a_fit() -> None:
    noise = _RANDOM.normal(size=122)
    options = {"hidden_layer_sizes": (20,), "epochs": 200, "alpha": 0.0}
    stopped = model(early_stopping=True, patience=5, validation_fraction=0.25, **options)
    stopped.fit(X, noise)
    assert stopped.status_ is lmjax.Status.PATIENCE
    assert len(stopped.history_["val_loss"]) == stopped.n_iter_ < 200
    plain = model(**options).fit(X, noise)
    assert plain.loss_ < stopped.loss_


@pytest.mark.slow
def test_more_starts_are_never_worse() -> None:
    one, four = (model(restarts=count, epochs=15).fit(X, Y) for count in (1, 4))
    assert four.loss_ <= one.loss_ * (1 + 1e-9)
