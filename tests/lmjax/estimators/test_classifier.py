"""``lmjax.sklearn.LMClassifier``."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from lmjax.sklearn import LMClassifier

X = np.random.default_rng(0).normal(size=(120, 2))
LABELS = np.where(np.hypot(*X.T) < 1, "inside", "outside")


def model(**options: Any) -> LMClassifier:
    return LMClassifier(**{"hidden_layer_sizes": (5,), "epochs": 30, "random_state": 0} | options)


def _check_probabilities(fitted: LMClassifier, x: np.ndarray) -> None:
    probabilities = fitted.predict_proba(x)
    assert probabilities.shape == (len(x), len(fitted.classes_))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(np.log(probabilities), fitted.predict_log_proba(x), atol=1e-9)
    np.testing.assert_array_equal(fitted.predict(x), fitted.classes_[probabilities.argmax(axis=1)])


def test_two_classes_of_any_labels() -> None:
    fitted = model(alpha=0.1).fit(X, LABELS)
    assert fitted.classes_.tolist() == ["inside", "outside"]
    assert fitted.score(X, LABELS) > 0.95
    assert fitted.coefs_[-1].shape == (5, 1)
    _check_probabilities(fitted, X)
    numbered = model(alpha=0.1).fit(X, np.where(LABELS == "inside", -7, 30))
    np.testing.assert_array_equal(numbered.predict(X) == -7, fitted.predict(X) == "inside")
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_the_loss_is_that_of_the_probabilities() -> None:
    weights = np.random.default_rng(1).uniform(0, 2, len(X))
    fitted = model(alpha=0.3).fit(X, LABELS, weights)
    own = fitted.predict_log_proba(X)[np.arange(len(X)), (LABELS == "outside").astype(int)]
    squares = sum(float(np.sum(layer["kernel"] ** 2)) for layer in fitted._params)
    expected = (-np.sum(weights * own) + 0.5 * 0.3 * squares) / weights.sum()
    assert fitted.loss_ == pytest.approx(expected, rel=1e-9)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="y: expected at least two classes, got one class"):
        model().fit(X, np.ones(len(X)))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_a_fit_comes_first(method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(model(), method)(X)


def test_numbers_are_no_labels() -> None:
    with pytest.raises(ValueError, match="continuous"):
        model().fit(X, X[:, 0])


@pytest.mark.slow
def test_three_classes() -> None:
    x, y = load_iris(return_X_y=True)
    fitted = model().fit(x, y)
    assert fitted.coefs_[-1].shape == (5, 3)
    _check_probabilities(fitted, x)
    assert cross_val_score(model(alpha=1.0), x, y, cv=3).mean() > 0.93


@pytest.mark.slow
def test_bayesian_regularization_chooses_the_penalty() -> None:
    fitted = model(regularization="bayesian", hidden_layer_sizes=(12,), epochs=100).fit(X, LABELS)
    assert fitted.posterior_.num_effective_params < fitted.posterior_.num_params
    far = np.random.default_rng(2).normal(size=(2000, 2))
    assert fitted.score(far, np.where(np.hypot(*far.T) < 1, "inside", "outside")) > 0.9


@pytest.mark.slow
def test_rows_held_out_have_all_classes() -> None:
    rare = np.where(np.arange(120) % 12 == 0, "rare", LABELS)
    fitted = model(early_stopping=True, validation_fraction=0.25, patience=3).fit(X, rare)
    assert fitted.classes_.tolist() == ["inside", "outside", "rare"]
    assert len(fitted.history_["val_loss"]) == fitted.n_iter_
