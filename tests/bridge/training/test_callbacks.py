"""Keras' own callbacks in ``bridge.fit``, the real classes, unchanged."""

import csv
import inspect
import json
import pickle

import keras
import numpy as np
import pytest

import bridge
from lmjax import Status
from lmjax._src.plots.names import NOT_METRICS

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3)).astype("float32")
#: Noise in all rows, so that the validation loss falls first and rises then.
Y = (X[:, :1] - X[:, 1:2] ** 2 + RANDOM.normal(size=(60, 1))).astype("float32")
FIRST, LAST = (X[:40], Y[:40]), (X[40:], Y[40:])


def make(kerases=keras, **options):
    kerases.utils.set_random_seed(0)
    model = kerases.Sequential(
        [
            kerases.layers.Input((3,)),
            kerases.layers.Dense(6, activation="tanh"),
            kerases.layers.Dense(1),
        ]
    )
    model.compile(loss="mse", **options)
    return model


def fit(model, *callbacks, **options):
    options = {"epochs": 6, "validation_data": LAST, "verbose": 0} | options
    return bridge.fit(model, *FIRST, callbacks=list(callbacks), **options)


def evaluate(model, data=FIRST):
    return model.evaluate(*data, batch_size=64, verbose=0, return_dict=True)


class Diary(keras.callbacks.Callback):
    """What is called, in which order, and what the model is then."""

    def __init__(self):
        super().__init__()
        self.calls, self.logs, self.losses, self.given = [], [], [], None

    def on_train_begin(self, logs=None):
        self.calls.append("train_begin")
        self.given = self.params

    def on_train_end(self, logs=None):
        self.calls.append("train_end")
        self.logs.append(logs)

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch_begin {epoch}")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"epoch_end {epoch}")
        self.logs.append(dict(logs))
        self.losses.append((evaluate(self.model), evaluate(self.model, LAST)))

    def on_test_begin(self, logs=None):
        self.calls.append("test_begin")

    def on_test_end(self, logs=None):
        self.calls.append("test_end")


class BatchDiary(Diary):
    """That also follows batches."""

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(f"batch_begin {batch}")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(f"batch_end {batch}")
        assert set(logs) == {"loss"}


@pytest.mark.parametrize("metrics", [None, ["mae"]])
def test_the_model_holds_the_current_weights_and_logs_are_complete(metrics):
    model, diary = make(metrics=metrics), Diary()
    history = fit(model, diary, epochs=3)
    one = ["epoch_begin {}", "test_begin", "test_end", "epoch_end {}"]
    called = [line.format(epoch) for epoch in range(3) for line in one]
    inside = [call for call in diary.calls if call in called]
    assert diary.calls[0] == "train_begin"
    assert diary.calls[-1] == "train_end"
    assert [call for call in inside if call.startswith("epoch")] == [
        call for call in called if call.startswith("epoch")
    ]
    assert diary.given == {"verbose": 0, "epochs": 3, "steps": 1}
    names = ["loss", *(metrics or []), "val_loss", *(f"val_{name}" for name in metrics or [])]
    for logs, (training, validation) in zip(diary.logs[:3], diary.losses, strict=True):
        assert [name for name in logs if name not in NOT_METRICS] == names
        expected = training | {f"val_{name}": value for name, value in validation.items()}
        assert {name: logs[name] for name in names} == pytest.approx(expected, rel=2e-6)
    assert diary.logs[3] == diary.logs[2]
    assert set(history.history) - NOT_METRICS == set(names)
    assert isinstance(history, keras.callbacks.History)
    assert isinstance(history, bridge.History)
    assert model.history is history
    assert history.params == diary.given
    assert len(repr(history)) < 200


@pytest.mark.parametrize("batch_size", [None, 16])
def test_batches_are_told_of(batch_size):
    diary = BatchDiary()
    fit(make(), diary, epochs=2, batch_size=batch_size, validation_data=None)
    count = 1 if batch_size is None else 3
    batches = [f"batch_{when} {place}" for place in range(count) for when in ("begin", "end")]
    assert diary.calls == [
        "train_begin",
        *("epoch_begin 0", *batches, "epoch_end 0"),
        *("epoch_begin 1", *batches, "epoch_end 1"),
        "train_end",
    ]


def test_following_batches_changes_nothing():
    one, other = make(), make()
    fit(one, BatchDiary(), epochs=2, batch_size=16)
    fit(other, epochs=2, batch_size=16)
    for left, right in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def test_early_stopping_with_the_best_weights():
    model = make()
    callback = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    history = fit(model, callback, epochs=50)
    assert history.status is Status.STOPPED
    losses = history.history["val_loss"]
    assert callback.best_epoch == int(np.argmin(losses)) == history.best_epoch
    assert len(losses) == callback.best_epoch + 3
    assert evaluate(model, LAST)["loss"] == pytest.approx(min(losses), rel=2e-6)


def test_early_stopping_decides_on_other_weights_than_ours():
    """By the training loss of an epoch that is not the best one of the validation data."""
    model = make()
    callback = keras.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True)
    history = fit(model, callback, epochs=8)
    assert history.best_epoch is None
    assert evaluate(model)["loss"] == pytest.approx(min(history.history["loss"]), rel=2e-6)


def test_files_are_written(tmp_path):
    model = make(metrics=["mae"])
    history = fit(
        model,
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}-{val_loss:.3f}.keras"),
        keras.callbacks.ModelCheckpoint(
            tmp_path / "best.weights.h5", save_best_only=True, save_weights_only=True
        ),
        epochs=4,
    )
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for name, values in history.history.items():
        np.testing.assert_allclose([float(row[name]) for row in rows], values)
    for epoch, val_loss in enumerate(history.history["val_loss"], start=1):
        saved = keras.models.load_model(tmp_path / f"{epoch}-{val_loss:.3f}.keras")
        assert evaluate(saved, LAST)["loss"] == pytest.approx(val_loss, rel=2e-6)
    best = make(optimizer=None)
    best.load_weights(tmp_path / "best.weights.h5")
    assert evaluate(best, LAST)["loss"] == pytest.approx(min(history.history["val_loss"]), rel=2e-6)


def test_tensorboard(tmp_path):
    fit(make(), keras.callbacks.TensorBoard(tmp_path), epochs=2)
    assert list(tmp_path.rglob("*tfevents*"))


def test_callbacks_that_only_look():
    seen = []
    fit(
        make(),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch)),
        keras.callbacks.History(),
        lambda epoch, logs: seen.append(logs["val_loss"]),
        epochs=2,
    )
    assert len(seen) == 4


def test_the_progress_bar_of_keras_takes_the_place_of_ours(capsys):
    fit(make(), keras.callbacks.ProgbarLogger(), epochs=2, verbose=2)
    output = capsys.readouterr().out
    assert "Epoch 2/2" in output
    assert "epoch 2/2" not in output


def test_a_list_of_keras():
    given = keras.callbacks.CallbackList([Diary()])
    history = bridge.fit(make(), *FIRST, epochs=1, callbacks=given, verbose=0)
    assert given.callbacks[0].calls[-1] == "train_end"
    assert history.epoch == [0]


@pytest.mark.parametrize(
    "wish", [True, np.True_, np.bool_(1), 1, "yes"], ids=lambda wish: type(wish).__name__
)
def test_wishes_of_functions_are_read_as_truth(wish):
    history = fit(make(), lambda epoch, logs: wish, epochs=5)
    assert (history.status, history.epoch) == (Status.STOPPED, [0])


def test_stop_training_after_a_batch_ends_the_epoch():
    class Stop(BatchDiary):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.model.stop_training = batch == 1

    diary = Stop()
    history = fit(make(), diary, epochs=5, batch_size=10)
    assert history.epoch == [0]
    assert "batch_end 1" in diary.calls
    assert "batch_begin 2" not in diary.calls


def test_weights_that_a_callback_puts_in_are_gone_on_from():
    class Reset(Diary):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            if epoch == 1:
                self.model.set_weights(first)

    model, diary = make(), Reset()
    first = model.get_weights()
    history = fit(model, diary, epochs=4, validation_data=None)
    losses = history.history["loss"]
    np.testing.assert_allclose(losses[2:], losses[:2], rtol=1e-6)
    assert evaluate(model)["loss"] == pytest.approx(min(losses), rel=2e-6)


def test_weights_that_a_callback_leaves_at_the_end_stay():
    class Zero(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            self.model.set_weights([np.zeros_like(w) for w in self.model.get_weights()])

    model = make()
    assert fit(model, Zero()).best_epoch is None
    assert not any(w.any() for w in model.get_weights())


def test_weights_cannot_be_changed_after_a_batch():
    class Change(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.set_weights([w + 1 for w in self.model.get_weights()])

    with pytest.raises(ValueError, match="on_epoch_end"):
        fit(make(), Change(), batch_size=10)


@pytest.mark.slow
def test_frozen_weights_cannot_be_changed():
    class Change(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.layers[0].set_weights([w + 1 for w in self.model.layers[0].get_weights()])

    model = make()
    model.layers[0].trainable = False
    with pytest.raises(bridge.ConversionError, match=r"kernel.*holds for constant"):
        fit(model, Change())


def test_an_exception_leaves_the_best_weights():
    class Fail(Diary):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            if epoch == 2:
                raise RuntimeError("enough")

    model = make(metrics=["mae"])
    with pytest.raises(RuntimeError, match="enough") as caught:
        fit(model, Fail())
    history = caught.value.result
    assert history.epoch == [0, 1, 2]
    assert evaluate(model, LAST)["loss"] == pytest.approx(
        min(history.history["val_loss"]), rel=2e-6
    )


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_in_the_first_epoch_leaves_the_weights_of_the_start(error):
    """Though the model had those after the first batches for a while."""

    class Fail(Diary):
        def on_train_batch_end(self, batch, logs=None):
            self.weights = self.model.get_weights()
            if batch == 1:
                raise error("enough")

    model, fail = make(), Fail()
    start = model.get_weights()
    with pytest.raises(error, match="enough"):
        fit(model, fail, batch_size=7)
    assert not all(map(np.array_equal, fail.weights, start))
    assert all(map(np.array_equal, model.get_weights(), start))


def test_backup_and_restore_goes_on_where_it_was_cut_off(tmp_path):
    class Cut(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    model = make()
    fit(model, keras.callbacks.BackupAndRestore(tmp_path / "backup"), Cut(), validation_data=None)
    again = make()
    diary = Diary()
    history = fit(
        again,
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        diary,
        epochs=5,
        validation_data=None,
    )
    assert history.epoch == [2, 3, 4]
    assert diary.calls[1] == "epoch_begin 2"
    assert history.start["loss"] == pytest.approx(evaluate(model)["loss"], rel=2e-6)


@pytest.mark.slow
def test_a_backup_of_all_epochs_leaves_nothing_to_do(tmp_path):
    class Fails(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            raise RuntimeError("at the end")

    model = make()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(RuntimeError, match="at the end") as caught:
        fit(model, Fails(), backup, restore="last", epochs=3)
    done = caught.value.result
    assert (done.status, done.epoch) == (Status.MAX_STEPS, [0, 1, 2])
    again = make()
    diary = Diary()
    history = fit(again, backup, diary, epochs=3)
    assert diary.calls == ["train_begin", "train_end"]
    assert (history.epoch, history.status, history.best_epoch) == ([], Status.MAX_STEPS, None)
    assert history.start["loss"] == pytest.approx(done.history["loss"][-1], rel=2e-6)
    assert history.start["val_loss"] == pytest.approx(done.history["val_loss"][-1], rel=2e-6)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # The model has an epoch from the backup, and a later fit begins with the first one all the same.
    assert fit(again, Diary(), epochs=2).epoch == [0, 1]


@pytest.mark.parametrize(("freq", "batch_size"), [(3, None), ([2, 5, 6], 20)])
@pytest.mark.slow
def test_validation_freq_is_about_numbers_of_epochs(freq, batch_size, tmp_path):
    """With ``initial_epoch`` as in Keras' own fit, and with epochs that a backup has."""

    class Follow(keras.callbacks.Callback):
        def __init__(self, cut=None):
            super().__init__()
            self.cut = cut

        def on_epoch_end(self, epoch, logs=None):
            validated.append("val_loss" in logs)
            if epoch == self.cut:
                raise KeyboardInterrupt

    options = {"verbose": 0, "validation_freq": freq, "validation_data": LAST, "epochs": 6}
    validated = []
    make().fit(*FIRST, initial_epoch=1, callbacks=[Follow()], **options)
    of_keras, validated = validated, []
    options["batch_size"] = batch_size
    bridge.fit(make(), *FIRST, initial_epoch=1, callbacks=[Follow()], **options)
    assert validated == of_keras
    validated = []
    for follow in (Follow(cut=3), Follow()):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        history = bridge.fit(make(), *FIRST, initial_epoch=1, callbacks=[backup, follow], **options)
    assert (validated, history.epoch) == (of_keras, [4, 5])
    assert len(history.history["val_loss"]) == sum(of_keras[3:])


def test_histories_go_through_pickle():
    history = fit(make(metrics=["mae"]), epochs=2)
    again = pickle.loads(pickle.dumps(history))
    assert isinstance(again, type(history))
    assert isinstance(again, keras.callbacks.History)
    for name in ("history", "epoch", "params", "status", "best_epoch", "start"):
        assert getattr(again, name) == getattr(history, name)
    assert repr(again) == repr(history)
    assert evaluate(again.model) == evaluate(history.model)


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.ReduceLROnPlateau(),
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_learning_rates_are_refused_by_name(callback):
    with pytest.raises(ValueError, match=f"{type(callback).__name__} changes the learning rate"):
        fit(make(), callback)


@pytest.mark.parametrize("callback", [3, keras.callbacks.EarlyStopping, "EarlyStopping"])
def test_what_is_no_callback_is_refused(callback):
    with pytest.raises(TypeError, match="callbacks: expected"):
        fit(make(), callback)


def test_without_callbacks_no_epoch_waits_for_the_host(monkeypatch):
    """The compiled loop takes many epochs at once, and weights are written once."""
    from bridge._src.conversion import to_keras

    written = []
    assign = to_keras._assign_all
    monkeypatch.setattr(
        to_keras, "_assign_all", lambda writes: (written.append(len(writes)), assign(writes))
    )
    fit(make(), epochs=20)
    assert len(written) == 1


def test_all_of_keras_callbacks_are_known():
    """Whatever class this Keras has is served, or refused by name, or of no use in any fit."""
    served = {
        *("EarlyStopping", "ModelCheckpoint", "CSVLogger", "TensorBoard", "TerminateOnNaN"),
        *("LambdaCallback", "BackupAndRestore", "ProgbarLogger", "History", "Callback"),
        *("CallbackList", "RemoteMonitor", "OrbaxCheckpoint"),
    }
    refused = {"ReduceLROnPlateau", "LearningRateScheduler", "SwapEMAWeights"}
    known = {
        name
        for name, thing in vars(keras.callbacks).items()
        if inspect.isclass(thing) and issubclass(thing, keras.callbacks.Callback)
    }
    assert known <= served | refused


def test_logs_are_plain_numbers():
    diary = Diary()
    fit(make(metrics=["mae"]), diary, epochs=1)
    json.dumps(diary.logs)
