"""The arguments of Keras' ``fit``, with Keras' meaning."""

import inspect

import keras
import numpy as np
import pytest

import bridge
from lmjax import Status
from lmjax._src.plots.names import NOT_METRICS

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3)).astype("float32")
Y = (X[:, :1] - X[:, 1:2] ** 2 + RANDOM.normal(size=(60, 1))).astype("float32")
FIRST, LAST = (X[:40], Y[:40]), (X[40:], Y[40:])


def make(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)]
    )
    model.compile(loss="mse", **options)
    return model


def evaluate(model, data):
    return model.evaluate(*data, batch_size=64, verbose=0, return_dict=True)


def test_every_argument_of_keras_is_known():
    own = inspect.signature(bridge.fit).parameters
    for name, parameter in inspect.signature(keras.Model.fit).parameters.items():
        if name != "self":
            assert name in own
            assert own[name].kind is parameter.kind
    positional = [name for name in inspect.signature(keras.Model.fit).parameters if name != "self"]
    assert list(own)[1 : 1 + len(positional)] == positional


@pytest.mark.parametrize("name", ["max_queue_size", "workers", "use_multiprocessing"])
def test_arguments_of_keras_2_alone_are_refused_by_name(name):
    with pytest.raises(TypeError, match=f"{name}.*leave it out"):
        bridge.fit(make(), X, Y, **{name: 1})
    with pytest.raises(TypeError, match="'epoch'"):
        bridge.fit(make(), X, Y, epoch=1)


def test_positional_batch_size_and_epochs():
    history = bridge.fit(make(), X, Y, 16, 2, 0)
    assert history.epoch == [0, 1]
    assert history.params == {"verbose": 0, "epochs": 2, "steps": 4}


def test_initial_epoch():
    history = bridge.fit(make(), X, Y, epochs=7, initial_epoch=4, verbose=0)
    assert history.epoch == [4, 5, 6]
    assert history.best_epoch == 6
    with pytest.raises(ValueError, match="pass epochs=7 for 3 more"):
        bridge.fit(make(), X, Y, epochs=3, initial_epoch=4)


def test_metrics_of_compile():
    model = make(metrics=["mae", keras.metrics.RootMeanSquaredError()], weighted_metrics=["mse"])
    weights = RANDOM.random(40)
    history = bridge.fit(
        model, *FIRST, sample_weight=weights, validation_data=LAST, epochs=3, verbose=0
    )
    names = ["loss", "mae", "root_mean_squared_error", "mse"]
    assert set(history.history) - NOT_METRICS == {*names, *(f"val_{name}" for name in names)}
    found = model.evaluate(
        *FIRST, sample_weight=weights, batch_size=64, verbose=0, return_dict=True
    )
    assert history.best_epoch is not None
    for name in names:
        assert history.history[name][history.best_epoch] == pytest.approx(found[name], rel=2e-6)


@pytest.mark.parametrize("name", ["loss", "val_loss", "seconds", "damping"])
def test_a_metric_of_a_name_that_is_taken_is_refused(name):
    model = make(metrics=[keras.metrics.MeanSquaredError(name=name)])
    with pytest.raises(ValueError, match=f"metrics: one is called '{name}'"):
        bridge.fit(model, X, Y, epochs=1, verbose=0)


def test_metrics_every_so_many_epochs():
    history = bridge.fit(make(metrics=["mae"]), X, Y, epochs=5, metrics_every=2, verbose=0)
    assert (len(history.history["loss"]), len(history.history["mae"])) == (5, 2)


@pytest.mark.slow
def test_classes_have_no_weights_in_a_validation_split():
    """As in Keras, and as in validation data that are given."""
    labels, weights = (Y[:, 0] > 0).astype(int), np.linspace(0, 1, len(X))
    model = make()
    options = {"class_weight": {0: 1.0, 1: 20.0}, "epochs": 2, "restore": "last", "verbose": 0}
    history = bridge.fit(model, X, labels, validation_split=0.3, sample_weight=weights, **options)
    rows = round(0.3 * len(X))
    held_out = {"x": X[-rows:], "y": labels[-rows:], "sample_weight": weights[-rows:]}
    found = model.evaluate(**held_out, batch_size=len(X), verbose=0)
    assert history.history["val_loss"][-1] == pytest.approx(found, rel=2e-6)


@pytest.mark.parametrize("freq", [2, [1, 4]])
@pytest.mark.parametrize("batch_size", [None, 20])
def test_validation_freq(freq, batch_size):
    model = make()
    history = bridge.fit(
        *(model, *FIRST, batch_size, 6),
        validation_data=LAST,
        validation_freq=freq,
        verbose=0,
    )
    numbers = [2, 4, 6] if freq == 2 else freq
    assert len(history.history["val_loss"]) == len(numbers)
    start = history.start["val_loss"]
    values = dict(zip(numbers, history.history["val_loss"], strict=True))
    best = min(values, key=values.__getitem__)
    assert history.best_epoch == (best - 1 if values[best] < start else None)
    assert evaluate(model, LAST)["loss"] == pytest.approx(min(values[best], start), rel=2e-6)


@pytest.mark.parametrize("batch_size", [None, 20])
@pytest.mark.parametrize("restore", ["validation", "training", "last"])
def test_whose_weights_the_model_gets(restore, batch_size):
    model = make()
    history = bridge.fit(
        *(model, *FIRST, batch_size, 8),
        validation_data=LAST,
        restore=restore,
        verbose=0,
    )
    chosen = {"validation": "val_loss", "training": "loss", "last": "loss"}[restore]
    values = history.history[chosen]
    number = len(values) - 1 if restore == "last" else int(np.argmin(values))
    assert history.best_epoch == number
    data = LAST if restore == "validation" else FIRST
    assert evaluate(model, data)["loss"] == pytest.approx(values[number], rel=2e-6)


def test_the_initial_weights_are_the_best_where_every_epoch_makes_it_worse():
    model = make()
    x, _ = LAST
    before, y = model.get_weights(), model.predict(x, verbose=0)
    history = bridge.fit(model, *FIRST, validation_data=(x, y), epochs=3, verbose=0)
    assert history.best_epoch is None
    assert history.start["val_loss"] < 1e-12
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("batch_size", [None, 20])
def test_patience(batch_size):
    history = bridge.fit(
        make(), *FIRST, batch_size, 60, validation_data=LAST, patience=4, verbose=0
    )
    assert history.status is Status.PATIENCE
    values = [history.start["val_loss"], *history.history["val_loss"]]
    assert len(values) - 1 - int(np.argmin(values)) == 4
    with pytest.raises(ValueError, match=r"patience: .*validation_data"):
        bridge.fit(make(), X, Y, patience=2)


def test_goal_and_time():
    history = bridge.fit(make(), X, Y, goal=0.9, verbose=0)
    assert history.status is Status.GOAL
    assert history.history["loss"][-1] <= 0.9
    assert all(loss > 0.9 for loss in history.history["loss"][:-1])
    history = bridge.fit(make(), X, Y, max_seconds=0, verbose=0)
    assert (history.status, history.epoch) == (Status.TIME, [0])


def test_steps_per_epoch_of_arrays():
    history = bridge.fit(make(), X, Y, batch_size=10, steps_per_epoch=2, epochs=2, verbose=0)
    assert history.params["steps"] == 2
    with pytest.raises(ValueError, match="steps_per_epoch: without batch_size"):
        bridge.fit(make(), X, Y, steps_per_epoch=2)


def batches(rows=20):
    """Without end."""
    while True:
        for start in range(0, 40, rows):
            yield X[start : start + rows], Y[start : start + rows]


class Numbered(keras.utils.PyDataset):
    """The same, whose number of batches nobody knows."""

    num_batches = None

    def __getitem__(self, index):
        rows = slice(20 * (index % 2), 20 * (index % 2) + 20)
        return X[rows], Y[rows]


def _tensorflow():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(FIRST).batch(20).repeat()


ENDLESS = {
    "generator": batches,
    "function": lambda: batches,
    "PyDataset": Numbered,
    "tf.data": _tensorflow,
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_data_without_end(kind):
    history = bridge.fit(
        make(), ENDLESS[kind](), steps_per_epoch=2, epochs=3, validation_steps=1,
        validation_data=ENDLESS[kind](), verbose=0,
    )  # fmt: skip
    expected = bridge.fit(make(), *FIRST, epochs=3, validation_data=(X[:20], Y[:20]), verbose=0)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history.history[name], expected.history[name], rtol=1e-5)
    if kind == "generator":
        with pytest.raises(ValueError, match="steps_per_epoch: a generator"):
            bridge.fit(make(), batches())


@pytest.mark.slow
def test_validation_steps_of_arrays():
    history = bridge.fit(
        *(make(), *FIRST),
        validation_data=LAST,
        validation_steps=2,
        validation_batch_size=5,
        epochs=2,
        verbose=0,
    )
    expected = bridge.fit(make(), *FIRST, validation_data=(X[40:50], Y[40:50]), epochs=2, verbose=0)
    np.testing.assert_allclose(
        history.history["val_loss"], expected.history["val_loss"], rtol=1e-12
    )
    with pytest.raises(ValueError, match="validation_steps"):
        bridge.fit(make(), *FIRST, validation_steps=2)


@pytest.mark.slow
def test_rows_in_their_own_order():
    """Without shuffling, batches come as the stream of the same rows has them."""
    cut = [(X[start : start + 20], Y[start : start + 20]) for start in (0, 20, 40)]
    streamed = bridge.fit(make(), cut, batch_size=20, epochs=2, verbose=0)
    ordered = bridge.fit(make(), X, Y, batch_size=20, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(ordered.history["loss"], streamed.history["loss"], rtol=1e-4)


@pytest.mark.parametrize("name", ["batch_size", "validation_batch_size", "seed"])
@pytest.mark.parametrize("value", [-1, 2.5, "many"])
def test_what_is_no_count_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected a whole number of at least"):
        bridge.fit(make(), X, Y, restarts=2, verbose=0, **{name: value})
    if name != "seed":
        with pytest.raises(ValueError, match=f"{name}: expected a whole number of at least 1"):
            bridge.fit(make(), X, Y, verbose=0, **{name: 0})


@pytest.mark.parametrize("name", ["validation_data", "test_data"])
def test_data_without_targets_are_refused_by_name(name):
    with pytest.raises(TypeError, match=rf"{name}: expected \(x, y\).*without targets"):
        bridge.fit(make(), X, Y, verbose=0, **{name: X})


def test_a_model_without_trainable_weights_is_refused_as_that():
    model = make()
    model.trainable = False
    for begin in (lambda: bridge.fit(model, X, Y, verbose=0), lambda: bridge.Trainer(model)):
        with pytest.raises(ValueError, match="model: none of its weights is trainable"):
            begin()
