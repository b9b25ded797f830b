"""Regularizers and constraints of a Keras model in a fit: the loss is that of model.evaluate, the
weights are allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import bridge
from bridge._src.training.constraints import feasible_weights, limits_of

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = np.sin(X.sum(axis=1, keepdims=True)).astype("float32")
L2 = keras.regularizers.L2
L = keras.layers


def _compiled(*layers: Any, loss: str = "mse") -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            *layers,
            L.Dense(1, "sigmoid" if loss == "binary_crossentropy" else None),
        ]
    )
    model.compile(loss=loss)
    return model


def _nested() -> Any:
    inner = keras.Sequential(
        [
            keras.Input((3,)),
            L.Dense(4, "tanh", activity_regularizer=L2(0.03)),
            L.ActivityRegularization(l2=0.1),
        ]
    )
    inputs = keras.Input((3,))
    model = keras.Model(
        inputs, L.Dense(1)(inner(L.Dense(3, "tanh", activity_regularizer=L2(0.05))(inputs)))
    )
    model.compile(loss="mse")
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "weights": lambda: _compiled(
        L.Dense(
            4,
            "tanh",
            kernel_regularizer=L2(0.01),
            bias_regularizer=keras.regularizers.L1L2(l2=0.02),
        )
    ),
    "activity": lambda: _compiled(L.Dense(4, "tanh", activity_regularizer=L2(0.02))),
    "both, cross-entropy": lambda: _compiled(
        L.Dense(4, "tanh", activity_regularizer=L2(0.02), kernel_regularizer=L2(0.01)),
        loss="binary_crossentropy",
    ),
    "nested": _nested,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_reported_loss_is_that_of_evaluate(name: str) -> None:
    model = MODELS[name]()
    targets = (Y > 0).astype("float32") if "cross-entropy" in name else Y
    before = model.evaluate(X, targets, verbose=0, batch_size=16)
    history = bridge.fit(
        model, X, targets, epochs=15, verbose=0, validation_data=(X[:8], targets[:8])
    )
    after = model.evaluate(X, targets, verbose=0, batch_size=16)
    assert after < 0.9 * before
    assert after == pytest.approx(history.history["loss"][-1], rel=1e-4)
    held_out = model.evaluate(X[:8], targets[:8], verbose=0)
    assert held_out == pytest.approx(history.history["val_loss"][-1], rel=1e-4)


@pytest.mark.slow
def test_an_activity_regularizer_leads_to_its_own_optimum() -> None:
    """A linear layer whose outputs are penalized: the optimum is known."""
    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(1, use_bias=False, activity_regularizer=L2(0.5))]
    )
    model.compile(loss="mse")
    bridge.fit(model, X, Y, epochs=20, verbose=0)
    expected = np.linalg.lstsq(X, Y, rcond=None)[0] / 1.5  # the minimum of (Xw - y)² + ½ (Xw)²
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-5)


@pytest.mark.slow
def test_weights_of_samples_do_not_count_for_activity_regularizers() -> None:
    model, targets = MODELS["activity"](), (Y > 0).astype("float32")
    weights = np.random.default_rng(5).random(len(Y))
    by_class = np.where(targets[:, 0] > 0, 2.0, 1.0)
    for options, expected in (
        ({"sample_weight": weights}, weights),
        ({"class_weight": {0: 1.0, 1: 2.0}}, by_class),
    ):
        history = bridge.fit(
            model,
            X,
            targets,
            epochs=3,
            verbose=0,
            validation_data=[(X, targets, expected)],
            **options,
        ).history
        evaluated = model.evaluate(X, targets, sample_weight=expected, verbose=0, batch_size=len(X))
        assert history["loss"][-1] == pytest.approx(evaluated, rel=1e-4)
        assert history["val_loss"][-1] == pytest.approx(evaluated, rel=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: L.TimeDistributed(L.Dense(2, activity_regularizer=L2(0.1))),
        lambda: L.Bidirectional(L.GRU(2, return_sequences=True, activity_regularizer=L2(0.1))),
    ],
)
def test_activity_regularizers_inside_a_wrapper_are_refused(layer: Callable[[], Any]) -> None:
    model = keras.Sequential([keras.Input((4, 3)), layer()])
    model.compile(loss="mse")
    with pytest.raises(bridge.ConversionError, match="activity regularizer of an inner layer"):
        bridge.fit(model, np.zeros((5, 4, 3)), np.zeros((5, *model.output_shape[1:])), verbose=0)


def test_an_activity_regularizer_of_a_layer_used_twice_is_refused() -> None:
    shared, inputs = L.Dense(3, activity_regularizer=L2(0.05), name="shared"), keras.Input((3,))
    model = keras.Model(inputs, shared(shared(inputs)))
    model.compile(loss="mse")
    with pytest.raises(
        bridge.ConversionError,
        match="shared: activity regularizer of a layer that is called more than once",
    ):
        bridge.fit(model, X, X, verbose=0)


CONSTRAINTS = {
    "NonNeg": (keras.constraints.NonNeg, lambda w: w.min() >= 0),
    "UnitNorm": (
        keras.constraints.UnitNorm,
        lambda w: np.allclose(np.linalg.norm(w, axis=0), 1, rtol=1e-5),
    ),
    "MaxNorm": (
        lambda: keras.constraints.MaxNorm(0.5),
        lambda w: (np.linalg.norm(w, axis=0) <= 0.5 + 1e-6).all(),
    ),
    "MaxNorm rows": (
        lambda: keras.constraints.MaxNorm(0.5, axis=1),
        lambda w: (np.linalg.norm(w, axis=1) <= 0.5 + 1e-6).all(),
    ),
    "MinMaxNorm": (
        lambda: keras.constraints.MinMaxNorm(0.3, 0.6),
        lambda w: (
            (np.linalg.norm(w, axis=0) <= 0.6 + 1e-6) & (np.linalg.norm(w, axis=0) >= 0.3 - 1e-6)
        ).all(),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_hold_after_the_fit(name: str) -> None:
    make, holds = CONSTRAINTS[name]
    model = _compiled(L.Dense(4, "tanh", kernel_constraint=make()))
    kernel = model.layers[0].kernel
    kernel.assign(make()(kernel))
    before = model.evaluate(X, Y, verbose=0)
    history = bridge.fit(model, X, Y, epochs=15, verbose=0)
    assert holds(np.asarray(kernel))
    after = model.evaluate(X, Y, verbose=0)
    assert after < 0.8 * before
    assert after == pytest.approx(history.history["loss"][-1], rel=1e-4)


@pytest.mark.slow
def test_non_negative_weights_reach_the_optimum() -> None:
    from scipy.optimize import nnls

    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(1, use_bias=False, kernel_constraint="non_neg")]
    )
    model.compile(loss="mse")
    targets = (X @ np.array([[1.0], [-2.0], [0.5]])).astype("float32")
    history = bridge.fit(model, X, targets, epochs=30, verbose=0)
    np.testing.assert_allclose(
        model.get_weights()[0][:, 0],
        nnls(X.astype(float), targets[:, 0].astype(float))[0],
        rtol=1e-5,
        atol=1e-7,
    )
    assert history.status.success


@pytest.mark.slow
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_hold_in_batches_and_in_a_loop_of_ones_own(name: str) -> None:
    make, holds = CONSTRAINTS[name]
    model = _compiled(L.Dense(4, "tanh", kernel_constraint=make()))
    kernel, start = model.layers[0].kernel, model.get_weights()
    start[0] = np.asarray(make()(kernel))
    model.set_weights(start)
    before = model.evaluate(X, Y, verbose=0)
    history = bridge.fit(model, X, Y, batch_size=15, epochs=15, verbose=0)
    assert holds(np.asarray(kernel))
    after = model.evaluate(X, Y, verbose=0)
    assert after < 0.8 * before
    assert after == pytest.approx(min(history.history["loss"]), rel=1e-4)
    model.set_weights(start)
    with bridge.Trainer(model) as trainer:
        for first in range(0, 40, 10):
            trainer.step(X[first : first + 10], Y[first : first + 10])
    assert holds(np.asarray(kernel))


def test_weights_are_where_keras_constraints_take_them() -> None:
    """For any axes; with a rate below one after many applications."""
    shape = (2, 3, 4)
    weights = np.random.default_rng(2).normal(size=shape)
    for axis in (0, 1, -1, [0, 1], [0, -1], None):
        for constraint in (
            keras.constraints.UnitNorm(axis),
            keras.constraints.MaxNorm(1.3, axis),
            keras.constraints.MinMaxNorm(1.2, 1.5, 1.0, axis),
            keras.constraints.MinMaxNorm(1.2, 1.5, 0.5, axis),
            keras.constraints.MinMaxNorm(1.2, 1.5, 0.0, axis),
        ):
            expected = weights.astype("float32")
            for _ in range(25 if getattr(constraint, "rate", 1) == 0.5 else 1):
                expected = np.asarray(constraint(expected))
            allowed = limits_of(keras.constraints.serialize(constraint), shape)
            projected = feasible_weights(allowed, weights).project(weights.ravel())
            np.testing.assert_allclose(projected.reshape(shape), expected, rtol=2e-5)


def test_axes_that_a_weight_does_not_have_are_refused() -> None:
    for axis in (2, [0, -3]):
        layer = L.Dense(4, kernel_constraint=keras.constraints.MaxNorm(axis=axis))
        with pytest.raises(bridge.ConversionError, match="kernel: constraint MaxNorm"):
            bridge.fit(_compiled(layer), X, Y, verbose=0)
