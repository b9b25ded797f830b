"""The loss of fits of models with regularizers is that of ``model.evaluate``."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bridge
from bridge._src.training.activity_loss import NEAR

N = 40
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 3)).astype("float32")
Y = np.sin(X.sum(axis=1, keepdims=True)).astype("float32")
WEIGHTS = RANDOM.random(N)
R = keras.regularizers
L = keras.layers


def model_of(hidden, outer, **options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), L.Dense(4, "tanh", **hidden), L.Dense(1, **outer)])
    model.compile(loss="mse")
    return model


def evaluate(model, x=X, y=Y, weights=None):
    options = {"batch_size": len(x), "verbose": 0, "return_dict": True}
    return model.evaluate(x, y, sample_weight=weights, **options)["loss"]


def check(model, **options):
    start, data = evaluate(model, weights=WEIGHTS), (X[:9], Y[:9])
    history = bridge.fit(
        *(model, X, Y), sample_weight=WEIGHTS, validation_data=data, restore="last", **options
    ).history
    assert history["loss"][-1] == pytest.approx(evaluate(model, weights=WEIGHTS), rel=1e-6)
    assert history["val_loss"][-1] == pytest.approx(evaluate(model, *data), rel=1e-6)
    assert options.get("batch_size") or history["loss"][-1] < start


def test_l1_of_weights_and_outputs_and_names():
    hidden = {"kernel_regularizer": "l1", "bias_regularizer": R.L1L2(0.01, 0.02)}
    check(model_of(hidden | {"activity_regularizer": R.L1L2(0.002, 0.01)}, {}), epochs=4, verbose=0)


def regularizers():
    factors = st.sampled_from([1e-4, 1e-2, 0.1])
    return st.one_of(
        st.none(),
        st.sampled_from(["l1", "l2"]),
        st.builds(R.L1, factors),
        st.builds(R.L2, factors),
        st.builds(R.L1L2, factors, factors),
    )


def options_of_a_layer():
    names = ("kernel_regularizer", "bias_regularizer", "activity_regularizer")
    return st.fixed_dictionaries({name: regularizers() for name in names})


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(options_of_a_layer(), options_of_a_layer(), st.sampled_from([None, 16]))
def test_the_loss_is_that_of_evaluate(hidden, outer, batch_size):
    check(model_of(hidden, outer), epochs=3, batch_size=batch_size, verbose=0)


@pytest.mark.slow
def test_streams_and_trainers_count_them():
    options = {"kernel_regularizer": R.L1(0.01), "activity_regularizer": R.L1(0.01)}
    model = model_of(options, options)
    start, batches = model.get_weights(), [(X[:25], Y[:25]), (X[25:], Y[25:])]
    history = bridge.fit(model, batches, epochs=3, verbose=0).history
    assert history["loss"][-1] == pytest.approx(evaluate(model), rel=1e-6)
    model.set_weights(start)
    trainer = bridge.Trainer(model)
    assert trainer.step(X, Y) == pytest.approx(evaluate(model), rel=1e-6)


@pytest.mark.slow
def test_several_outputs_with_l1():
    inputs = keras.Input((3,))
    hidden = L.Dense(4, "tanh", kernel_regularizer="l1", activity_regularizer=R.L1(0.01))(inputs)
    one, other = L.Dense(1, activity_regularizer=R.L1L2(0.01, 0.01))(hidden), L.Dense(2)(hidden)
    model = keras.Model(inputs, [one, other])
    model.compile(loss=["mse", "mae"], loss_weights=[1.0, 0.5])
    y = [Y, X[:, :2]]
    history = bridge.fit(model, X, y, epochs=4, verbose=0).history
    assert history["loss"][-1] == pytest.approx(evaluate(model, X, y), rel=1e-6)


@pytest.mark.slow
def test_a_large_l1_makes_the_kernel_zero():
    model = model_of({"kernel_regularizer": R.L1(1.0)}, {"kernel_regularizer": R.L1(1.0)})
    history = bridge.fit(model, X, Y, epochs=40, verbose=0)
    assert not np.any(model.get_weights()[0])
    assert history.history["loss"][-1] == pytest.approx(np.var(Y), rel=1e-5)


@pytest.mark.slow
def test_an_l1_of_outputs_leads_to_its_own_optimum():
    """Of (z - y)² + |z| at each row: y by a half nearer to zero, but for the smooth part of |z|,
    where outputs stay that belong at zero.
    """
    model = keras.Sequential(
        [keras.Input((N,)), L.Dense(1, use_bias=False, activity_regularizer=R.L1(1.0))]
    )
    model.compile(loss="mse")
    bridge.fit(model, np.eye(N, dtype="float32"), Y, epochs=300, verbose=0)
    expected = np.sign(Y) * np.maximum(np.abs(Y) - 0.5, 0)
    found = model.get_weights()[0]
    best = np.mean((expected - Y) ** 2 + np.abs(expected))
    above = np.mean((found - Y) ** 2 + np.abs(found)) - best
    assert -1e-7 < above < NEAR * np.mean(expected == 0)
    np.testing.assert_allclose(found[expected != 0], expected[expected != 0], atol=1e-4)
