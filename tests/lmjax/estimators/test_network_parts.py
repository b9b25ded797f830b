"""What estimators are made of: lengths of arrays, maps, networks, and arguments."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from lmjax._src.estimators.affine_map import folded, standardization
from lmjax._src.estimators.dense_network import ACTIVATIONS, DenseNetwork, drawn
from lmjax._src.estimators.rows import repeated_to, rounded_up, zeros_to
from lmjax.sklearn import LMClassifier, LMRegressor

X = np.random.default_rng(0).normal(size=(12, 3))
Y = X @ [1.0, -2.0, 0.5]


def test_lengths_are_few_and_little_longer() -> None:
    counts = np.arange(1, 5000)
    lengths = np.array([rounded_up(int(count)) for count in counts])
    assert (lengths >= counts).all()
    assert (lengths - counts <= counts / 16).all()
    assert (np.diff(lengths) >= 0).all()
    assert len(set(lengths[1024:2048])) <= 16
    assert rounded_up(353) == rounded_up(354) == 368


def test_rows_are_filled_with_the_last_one_of_weight_zero() -> None:
    assert repeated_to(5, np.array([[1], [2]])).tolist() == [[1], [2], [2], [2], [2]]
    assert zeros_to(4, np.array([3.0, 1.0])).tolist() == [3, 1, 0, 0]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_numpy_predicts_what_jax_fits(name: str, dtype: Any) -> None:
    network = DenseNetwork(name)
    params = drawn(np.random.RandomState(0), (3, 5, 4, 2), np.dtype(dtype))
    x = (10 * X).astype(dtype)
    with jax.enable_x64(True):
        expected = np.asarray(network(params, x))
    found = network.predict(params, x)
    assert found.dtype == expected.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=100 * np.finfo(dtype).eps)


def test_activations_do_not_overflow() -> None:
    far = np.array([-1e4, 1e4])
    with np.errstate(all="raise", under="ignore"):
        for act in ACTIVATIONS.values():
            assert np.isfinite(act(np, far)).all()


def test_standardised_numbers_are_those_of_repeated_rows() -> None:
    weights = np.array([0.0, 1.0, 2.0, 3.0] * 3)
    repeated = np.repeat(X, weights.astype(int), axis=0)
    found = standardization(X, weights)
    np.testing.assert_allclose(found.mean, repeated.mean(axis=0))
    np.testing.assert_allclose(found.scale, repeated.std(axis=0))


def test_a_column_that_does_not_vary_keeps_its_scale() -> None:
    columns = np.stack([np.full(12, 0.1), np.zeros(12), 1e9 + X[:, 0]], axis=1)
    found = standardization(columns, np.ones(12))
    assert found.scale[:2].tolist() == [1, 1]
    assert found.scale[2] == pytest.approx(X[:, 0].std(), rel=1e-6)


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=["linear", "one", "two"])
def test_folded_layers_take_and_give_raw_numbers(hidden: tuple[int, ...]) -> None:
    network = DenseNetwork("tanh")
    params = drawn(np.random.RandomState(0), (3, *hidden, 1), np.dtype("float64"))
    inputs = standardization(50 + 9 * X, np.ones(12))
    outputs = standardization(7 * Y[:, None] - 3, np.ones(12))
    expected = outputs.back(network.predict(params, inputs.forward(50 + 9 * X)))
    found = network.predict(folded(params, inputs, outputs), 50 + 9 * X)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "sin"}, "activation: expected one of identity, .* got 'sin'"),
        ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes: "),
        ({"hidden_layer_sizes": (4.5,)}, "hidden_layer_sizes: "),
        ({"dtype": "int32"}, "dtype: expected 'float32' or 'float64', got 'int32'"),
        ({"dtype": "half"}, "dtype: expected"),
        ({"alpha": -1.0}, "alpha: "),
        ({"restarts": 0}, "restarts: "),
        ({"epochs": 0}, "epochs: "),
        ({"regularization": "l2"}, "regularization: expected None, 'bayesian'"),
        ({"regularization": "bayesian", "batch_size": 4}, "batch_size: not with"),
        ({"early_stopping": True, "validation_fraction": 1.5}, "validation_fraction: "),
        ({"early_stopping": True, "patience": 0}, "patience: "),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("made", [LMRegressor, LMClassifier])
def test_arguments_are_named(made: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        made(**options).fit(X, (Y > 0).astype(int))


@pytest.mark.parametrize("made", [LMRegressor, LMClassifier])
def test_weights_are_checked(made: Any) -> None:
    labels = (Y > 0).astype(int)
    with pytest.raises(ValueError, match="sample_weight: expected numbers of at least 0, got -1"):
        made().fit(X, labels, sample_weight=-np.ones(12))
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):
        made().fit(X, labels, sample_weight=np.zeros(12))
