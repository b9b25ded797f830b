"""``bridge.fit`` on data that are read in pieces."""

import keras
import numpy as np
import pytest

import bridge

N = 60
GENERATOR = np.random.default_rng(0)
FIRST, SECOND = (GENERATOR.normal(size=(N, width)).astype("float32") for width in (2, 3))
CLASSES = (FIRST[:, 0] > SECOND[:, 0]).astype("int64")
CLASS_WEIGHT = {0: 1.0, 1: 3.0}


def make():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2,), name="first"), keras.Input((3,), name="second")
    hidden = keras.layers.Dense(4, activation="tanh")(keras.layers.Concatenate()(list(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden))
    model.compile(loss="sparse_categorical_crossentropy")
    return model


class Batches(keras.utils.PyDataset):
    @property
    def num_batches(self):
        return 3

    def __getitem__(self, index):
        rows = slice(index * 20, index * 20 + 20)
        return {"second": SECOND[rows], "first": FIRST[rows]}, CLASSES[rows]


@pytest.mark.slow
def test_batches_of_named_inputs_give_the_fit_of_the_arrays(tmp_path):
    model, streamed = make(), make()
    expected = bridge.fit(
        model, [FIRST, SECOND], CLASSES, class_weight=CLASS_WEIGHT, epochs=3, verbose=0
    )
    epochs = []
    got = bridge.fit(
        streamed,
        Batches(),
        class_weight=CLASS_WEIGHT,
        epochs=3,
        verbose=0,
        validation_data=Batches(),
        callbacks=[lambda epoch, logs: epochs.append(logs["val_loss"])],
    )
    np.testing.assert_allclose(got.history["loss"], expected.history["loss"], rtol=1e-8)
    assert epochs == got.history["val_loss"]
    assert got.history["val_loss"][-1] == pytest.approx(
        streamed.evaluate([FIRST, SECOND], CLASSES, verbose=0), rel=1e-5
    )
    for ours, theirs in zip(streamed.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)

    np.save(tmp_path / "first.npy", FIRST)
    first = np.load(tmp_path / "first.npy", mmap_mode="r")
    mapped = bridge.fit(
        make(),
        {"second": SECOND, "first": first},
        CLASSES,
        class_weight=CLASS_WEIGHT,
        epochs=3,
        verbose=0,
        validation_data=([first, SECOND], CLASSES),
    )
    np.testing.assert_allclose(mapped.history["loss"], expected.history["loss"], rtol=1e-8)


@pytest.mark.slow
def test_a_dataset_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(((FIRST, SECOND), CLASSES)).batch(25)
    expected = bridge.fit(make(), [FIRST, SECOND], CLASSES, epochs=2, verbose=0)
    got = bridge.fit(make(), dataset, epochs=2, verbose=0)
    np.testing.assert_allclose(got.history["loss"], expected.history["loss"], rtol=1e-8)
    with pytest.raises(ValueError, match="repeat"):
        bridge.fit(make(), dataset.repeat(), epochs=2, verbose=0)


def test_a_stream_that_cannot_be_used_leaves_the_model_alone():
    model = make()
    before = model.get_weights()
    with pytest.raises(ValueError, match="validation_split"):
        bridge.fit(model, Batches(), validation_split=0.5)
    with pytest.raises(TypeError, match="no targets"):
        bridge.fit(model, FIRST)
    with pytest.raises(ValueError, match="y: 1 of 60 rows"):
        bridge.fit(
            model, [([FIRST, SECOND], np.where(np.arange(N) == 5, np.nan, CLASSES))], verbose=0
        )
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_trainer_writes_back_when_asked():
    model = make()
    before = model.get_weights()
    start = model.evaluate([FIRST, SECOND], CLASSES, verbose=0)
    trainer = bridge.Trainer(model)
    for _ in range(4):
        for batch in range(3):
            loss = trainer.step(*Batches()[batch])
    assert loss < start
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert trainer.write_back() is model
    assert model.evaluate([FIRST, SECOND], CLASSES, verbose=0) < start


@pytest.mark.slow
def test_mini_batches():
    model = make()
    start = model.evaluate([FIRST, SECOND], CLASSES, verbose=0)
    history = bridge.fit(
        model, [FIRST, SECOND], CLASSES, batch_size=16, seed=1, epochs=3, verbose=0
    )
    assert model.evaluate([FIRST, SECOND], CLASSES, verbose=0) == pytest.approx(
        min(history.history["loss"]), rel=1e-5
    )
    assert min(history.history["loss"]) < start
