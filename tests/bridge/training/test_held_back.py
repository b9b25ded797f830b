"""Rows to test on: neither trained on nor chosen by, and told in the end as ``model.evaluate`` has
them.
"""

import jax
import keras
import numpy as np
import pytest

import bridge
from bridge._src.training.data import split
from lmjax import Status
from lmjax._src.training.data import InMemory

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3))
Y = X[:, :1] - X[:, 1:2] ** 2 + 0.1 * RANDOM.normal(size=(60, 1))
TRAINING, VALIDATION, TEST = slice(0, 42), slice(42, 54), slice(54, 60)


def make(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)]
    )
    model.compile(**({"loss": "mse"} | options))
    return model


def evaluate(model, *data, **options):
    return model.evaluate(*data, batch_size=64, verbose=0, return_dict=True, **options)


@pytest.mark.slow
def test_the_last_rows_are_tested_on(capsys):
    """And those before them are validated on; the fit is that without the test rows."""
    model = make(metrics=["mae"])
    weights = RANDOM.uniform(1, 2, 60)
    options = {"epochs": 4, "verbose": 2}
    shares = {"validation_split": 0.2, "test_split": 0.1}
    history = bridge.fit(model, X, Y, sample_weight=weights, **shares, **options)
    last = capsys.readouterr().out.splitlines()[-1]
    expected = evaluate(model, X[TEST], Y[TEST], sample_weight=weights[TEST])
    assert history.test == pytest.approx(expected, rel=1e-5)
    loss, mae = history.test["loss"], history.test["mae"]
    assert last == f"On the test data: loss {loss:.4g}, mae {mae:.4g}."
    without = bridge.fit(
        make(),
        X[TRAINING],
        Y[TRAINING],
        sample_weight=weights[TRAINING],
        validation_data=(X[VALIDATION], Y[VALIDATION], weights[VALIDATION]),
        epochs=4,
        verbose=0,
    )
    for name in ("loss", "val_loss"):
        assert history.history[name] == without.history[name]
    assert without.test == {}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["arrays", "batches", "penalties", "classes", "several outputs"])
def test_test_data(kind, dtype):
    """Of all kinds; the second call compiles nothing."""
    x, y, given, options = X[:40], Y[:40], (X[40:], Y[40:]), {}
    if kind == "penalties":
        hidden = keras.layers.Dense(4, "tanh", kernel_regularizer="l2")
        model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(1)])
        model.compile(loss="mse")
    elif kind == "classes":
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "softmax")])
        model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        labels = (Y > 0).ravel() + 0
        y, given = labels[:40], (X[40:], labels[40:])
        options["class_weight"] = {0: 1.0, 1: 5.0, 2: 1.0}
    elif kind == "several outputs":
        entry = keras.Input((3,))
        model = keras.Model(entry, [keras.layers.Dense(1)(entry), keras.layers.Dense(1)(entry)])
        model.compile(loss=["mse", "mae"])
        y, given = [Y[:40], -Y[:40]], (X[40:], [Y[40:], -Y[40:]])
    else:
        model = make(metrics=["mae"])
    expected_of = given
    if kind == "batches":
        given = [(X[40:50], Y[40:50]), (X[50:], Y[50:])]
    options |= {"epochs": 2, "dtype": dtype, "verbose": 0}
    history = bridge.fit(model, x, y, test_data=given, **options)
    expected = evaluate(model, *expected_of)
    assert history.test == pytest.approx({name: expected[name] for name in history.test}, rel=1e-5)
    assert set(history.test) == set(expected)
    before = jax.config.values.copy()
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None
    )
    try:
        if kind != "classes" and not model.metrics[1:]:  # Keras compiles its own
            bridge.fit(model, x, y, test_data=given, **options)
            assert compiled == []
    finally:
        jax.monitoring.clear_event_listeners()
    assert jax.config.values == before


def test_weights_of_a_callback_are_those_that_are_tested():
    class Constant(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            self.model.set_weights([np.full_like(one, 0.5) for one in self.model.get_weights()])

    model = make()
    history = bridge.fit(model, X, Y, test_split=0.1, epochs=1, callbacks=[Constant()], verbose=0)
    assert history.test == pytest.approx(evaluate(model, X[TEST], Y[TEST]), rel=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 10, 60])
def test_every_set_has_the_rows_that_keras_holds_out(rows):
    data = InMemory(np.arange(rows), np.arange(rows))
    for validation in (0.0, 0.1, 0.3, 0.5, 0.9):
        for test in (0.0, 0.1, 0.4, 0.7):
            wanted = [rows - int(rows * (1 - share)) for share in (validation, test)]
            asked = [
                count for count, share in zip(wanted, (validation, test), strict=True) if share
            ]
            if validation + test >= 1 or 0 in asked or sum(wanted) >= rows:
                with pytest.raises(ValueError, match="_split"):
                    split(data, validation, test)
                continue
            parts = [part for part in split(data, validation, test) if part is not None]
            np.testing.assert_array_equal(np.concatenate([part.x for part in parts]), data.x)
            assert [len(part.x) for part in parts[1:]] == asked


def test_what_cannot_be_tested_on_is_refused_before_the_training(monkeypatch):
    monkeypatch.setattr("bridge._src.training.fit.train", lambda *_, **__: pytest.fail("trained"))
    options = {"epochs": 1, "verbose": 0}
    with pytest.raises(ValueError, match=r"validation_split and test_split: 0.6 and 0.4 of 60"):
        bridge.fit(make(), X, Y, validation_split=0.6, test_split=0.4, **options)
    with pytest.raises(ValueError, match="test_split: there are test_data already"):
        bridge.fit(make(), X, Y, test_split=0.1, test_data=(X, Y), **options)
    for given in ((X[:, :2], Y), (X, Y[:5]), (X, np.hstack([Y, Y]))):
        with pytest.raises((ValueError, TypeError), match=r"^test (x|y|data): "):
            bridge.fit(make(), X, Y, test_data=given, **options)
    with pytest.raises(ValueError, match=r"test_split: data that are streamed.*pass test_data"):
        bridge.fit(make(), [(X, Y)], test_split=0.1, **options)


def test_nothing_is_tested_after_an_interruption():
    import signal

    def press(epoch, logs):
        signal.raise_signal(signal.SIGINT)

    history = bridge.fit(make(), X, Y, test_split=0.1, epochs=9, callbacks=press, verbose=0)
    assert history.status is Status.INTERRUPTED
    assert history.test == {}
