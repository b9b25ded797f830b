"""What was trained is in the Keras model, however the training ends."""

from __future__ import annotations

import signal

import numpy as np
import pytest

import bridge
from bridge._src.training.following import homecoming
from lmjax import Status

keras = pytest.importorskip("keras")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3)).astype("float32")
Y = np.sin(2 * X.sum(axis=1, keepdims=True)).astype("float32")


def make():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(1)]
    )
    model.compile(loss="mse")
    return model


def source(action, at=20):
    """Batches that do ``action`` in the middle of pass ``at``; the number of passes is in its
    ``passes``.
    """

    def batches():
        batches.passes += 1
        for begin in range(0, 200, 50):
            if batches.passes == at and begin == 100:
                action()
            yield X[begin : begin + 50], Y[begin : begin + 50]

    batches.passes = 0
    return batches


def loss(model):
    converted = bridge.from_keras(model, "float64")
    return float(np.mean((np.asarray(converted(converted.params, X)) - Y) ** 2))


@pytest.mark.parametrize("batch_size", [None, 50])
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_reads_nothing_again(batch_size, presses):
    model, data = (
        make(),
        source(lambda: [signal.raise_signal(signal.SIGINT) for _ in range(presses)]),
    )
    history = bridge.fit(model, data, epochs=50, batch_size=batch_size, verbose=0)
    assert history.status is Status.INTERRUPTED
    assert data.passes == 20
    assert loss(model) == pytest.approx(min(history.history["loss"]), rel=1e-4)


@pytest.mark.slow
def test_ctrl_c_while_the_weights_are_brought_home(monkeypatch):
    model, written = make(), homecoming.bring_home

    def pressed(converted, params, target):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return written(converted, params, target)

    monkeypatch.setattr(homecoming, "bring_home", pressed)
    history = bridge.fit(model, X, Y, epochs=5, verbose=0)
    assert history.status is Status.INTERRUPTED
    assert loss(model) == pytest.approx(history.history["loss"][-1], rel=1e-4)


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), MemoryError(), KeyError("mine"), SystemExit(3)]
)
@pytest.mark.parametrize("batch_size", [None, 50])
def test_exceptions_leave_the_best_weights_in_the_model(error, batch_size):
    def fail():
        raise error

    model = make()
    before = loss(model)
    data = source(fail)
    with pytest.raises(type(error)) as raised:
        bridge.fit(model, data, epochs=50, batch_size=batch_size, verbose=0)
    assert raised.value is error
    history = raised.value.result
    assert isinstance(history, bridge.History)
    assert history.model is model
    assert data.passes == 20
    assert loss(model) == pytest.approx(min(history.history["loss"]), rel=1e-4)
    assert loss(model) < before
    assert "the model has the best weights" in raised.value.__notes__[-1]
    untouched = make()
    with pytest.raises(type(error)) as raised:  # the same exception, before anything was trained
        bridge.fit(untouched, source(fail, at=2), epochs=50, batch_size=batch_size, verbose=0)
    assert loss(untouched) == before
    assert not hasattr(raised.value, "result")


@pytest.mark.slow
def test_an_exception_where_rounding_would_take_the_gain_away():
    """Weights that are as good as float32 has them stay as they are, without another look at the
    data.
    """
    model = make()
    bridge.fit(model, X, Y, epochs=300, verbose=0)
    for _ in range(3):
        before = loss(model)
        data = source(lambda: signal.raise_signal(signal.SIGINT), at=9)
        bridge.fit(model, data, epochs=50, verbose=0)
        assert loss(model) <= before


def test_a_fit_that_fails_when_its_gain_is_confirmed_is_done():
    model = make()
    total = source(lambda: None)
    expected = bridge.fit(model, total, epochs=5, verbose=0).history["loss"]

    def fail():
        raise OSError(5, "Input/output error")

    model = make()
    history = bridge.fit(model, source(fail, at=total.passes), epochs=5, verbose=0)
    assert history.history["loss"] == expected
    assert history.status is Status.MAX_STEPS
    assert loss(model) == pytest.approx(expected[-1], rel=1e-4)


def test_a_loop_of_ones_own():
    model, steps = make(), 0
    before = loss(model)

    def loop():
        nonlocal steps
        with bridge.Trainer(model) as trainer:
            for steps in range(100):
                trainer.step(X, Y)
                if steps == 10:
                    raise OSError("the data are gone")

    with pytest.raises(OSError, match="the data are gone"):
        loop()
    assert steps == 10
    assert loss(model) < before / 2


def test_ctrl_c_during_the_writing_waits_for_its_end():
    model = make()
    converted = bridge.from_keras(model)
    params = {
        name: {key: leaf + 1 for key, leaf in layer.items()}
        for name, layer in converted.params.items()
    }
    variable = type(model.layers[0].kernel)
    plain, calls = variable.assign, []

    def assign(self, value):
        calls.append(signal.raise_signal(signal.SIGINT))
        return plain(self, value)

    variable.assign = assign
    try:
        with pytest.raises(KeyboardInterrupt):
            bridge.to_keras(params, model)
    finally:
        variable.assign = plain
    assert len(calls) == 4
    np.testing.assert_equal(bridge.from_keras(model).params, params)
