"""Live models of tf_keras (Keras 2): there and back, and what means something else there than in
Keras 3.
"""

from __future__ import annotations

import numpy as np
import pytest

import bridge

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def tf_keras():
    pytest.importorskip("tf_keras", reason="tf_keras is not installed")
    import tf_keras

    return tf_keras


def _sequential(keras):
    layers = keras.layers
    return [
        layers.Dense(8, activation=layers.PReLU()),
        keras.Sequential(
            [
                layers.Dense(4),
                layers.LeakyReLU(alpha=0.4),
                layers.BatchNormalization(),
                layers.Dropout(0.3),
            ]
        ),
        layers.Reshape((4, 1)),
        layers.Conv1D(3, 2, activation="hard_sigmoid"),
        layers.Bidirectional(
            layers.GRU(3, return_sequences=True, recurrent_activation="hard_sigmoid")
        ),
        layers.LayerNormalization(),
        layers.LSTM(4),
        layers.Activation("hard_sigmoid"),
        layers.Dense(2),
    ]


def _functional(keras):
    layers = keras.layers
    first, second, shared = (
        keras.Input((4,), name="first"),
        keras.Input((4,), name="second"),
        layers.Dense(4, "tanh", name="shared"),
    )
    inner_input = keras.Input((4,))
    inner = keras.Model(inner_input, layers.Dense(4, name="deep")(inner_input), name="inner")
    nested = keras.Sequential([keras.Input((4,)), layers.Dense(4)], name="nested")
    hidden = shared(inner(first))
    merged = layers.Concatenate()(
        [nested(hidden), layers.Add()([inner(shared(second)), hidden]), nested(second)]
    )
    return keras.Model(
        [first, second], [layers.Dense(2, name="head")(merged), inner(hidden)], name="functional"
    )


def _recurrent(keras):
    layers = keras.layers
    return [
        layers.Embedding(11, 4, mask_zero=True),
        layers.SimpleRNN(3, return_sequences=True, go_backwards=True),
        layers.GRU(3, return_sequences=True, reset_after=False),
        layers.TimeDistributed(layers.Dense(2)),
        layers.LSTM(2),
    ]


def _images(keras):
    layers = keras.layers
    return [
        layers.Rescaling(0.1),
        layers.SeparableConv2D(3, 3, activation="gelu"),
        layers.DepthwiseConv2D(2),
        layers.MaxPooling2D(),
        layers.UpSampling2D(),
        layers.Conv2DTranspose(2, 2, activation="swish"),
        layers.GlobalAveragePooling2D(),
        layers.ReLU(max_value=2.0),
    ]


def _model(keras, name):
    if name == "functional":
        model = _functional(keras)
    else:
        shape, dtype, chain = {
            "sequential": ((5,), "float32", _sequential),
            "recurrent": ((6,), "int32", _recurrent),
            "images": ((8, 8, 2), "float32", _images),
        }[name]
        model = keras.Sequential([keras.Input(shape, dtype=dtype), *chain(keras)])
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(
            rng.uniform(0.2, 0.9, weight.shape)
            * rng.choice([-1.0, 1.0]) ** ("variance" not in weight.name)
        )
    return model


def _feed(name):
    rng = np.random.default_rng(0)
    if name == "functional":
        return [rng.standard_normal((3, 4)).astype(np.float32) for _ in range(2)]
    if name == "recurrent":
        return rng.integers(0, 11, (3, 6)).astype(np.int32)
    return 2 * rng.standard_normal({"sequential": (3, 5), "images": (3, 8, 8, 2)}[name]).astype(
        np.float32
    )


def _agree(converted, model, x):
    found, expected = converted(converted.params, x), model(x)
    if not isinstance(expected, list):
        found, expected = [found], [expected]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            ours, np.asarray(theirs), rtol=0, atol=5e-6 * np.abs(np.asarray(theirs)).max()
        )


def _bits(model):
    return [np.asarray(weight).tobytes() for weight in model.weights]


MODELS = ["sequential", "functional", "recurrent", "images"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_live_models_and_their_files(name, tf_keras, tmp_path):
    model, x = _model(tf_keras, name), _feed(name)
    converted = bridge.from_keras(model)
    _agree(converted, model, x)
    before = _bits(model)
    bridge.to_keras(converted, model)
    assert _bits(model) == before

    for ending in ("keras", "h5"):
        path = tmp_path / f"model.{ending}"
        model.save(path)
        file = bridge.from_keras(path)
        assert file.module == converted.module
        _agree(file, model, x)
        bridge.save(
            _plus(bridge.from_keras(path, "float64").params), path, tmp_path / f"new.{ending}"
        )
        bridge.to_keras(_plus(converted.params), model)
        assert _bits(tf_keras.models.load_model(tmp_path / f"new.{ending}")) == _bits(model)
        bridge.to_keras(converted, model)
    model.save_weights(tmp_path / "model.weights.h5")
    _agree(
        bridge.from_keras(tmp_path / "model.keras", weights=tmp_path / "model.weights.h5"), model, x
    )
    _agree(bridge.from_keras(bridge.pack(model, tmp_path / "model.lmjax")), model, x)


def _plus(tree):
    return {
        key: _plus(value) if isinstance(value, dict) else value + 1 for key, value in tree.items()
    }


def test_hard_sigmoid_is_that_of_keras_2(tf_keras):
    model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Activation("hard_sigmoid")])
    converted = bridge.from_keras(model)
    np.testing.assert_allclose(converted({}, [[-2.0, 0.5, 2.0]]), [[0.1, 0.6, 0.9]], rtol=1e-6)


def test_a_layer_used_twice(tf_keras):
    dense = tf_keras.layers.Dense(3)
    model = tf_keras.Sequential(
        [tf_keras.Input((3,)), dense, tf_keras.layers.Activation("tanh"), dense]
    )
    _agree(
        bridge.from_keras(model),
        model,
        np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32),
    )


def test_a_model_that_is_not_built(tf_keras):
    with pytest.raises(bridge.ConversionError, match="is not built"):
        bridge.from_keras(tf_keras.Sequential([tf_keras.layers.Dense(3)]))


def test_a_frozen_half_of_a_bidirectional(tf_keras, tmp_path):
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [tf_keras.Input((4, 2)), layers.Bidirectional(layers.LSTM(3)), layers.Dense(1)]
    )
    model.layers[0].forward_layer.trainable = False
    model.save(tmp_path / "model.h5")
    x = np.random.default_rng(0).standard_normal((3, 4, 2)).astype(np.float32)
    converted = bridge.from_keras(model)
    _agree(converted, model, x)
    assert [entry.path[1] for entry in converted.table.frozen] == ["forward_layer"] * 3
    # The file stores the frozen half last and does not say that it is frozen: tf_keras loads it
    # with the halves crossed.
    with pytest.raises(bridge.ConversionError, match="stores its weights in the order"):
        bridge.from_keras(tmp_path / "model.h5")


@pytest.mark.slow
def test_fit_trains_in_place(tf_keras):
    tf_keras.utils.set_random_seed(0)
    model = tf_keras.Sequential(
        [tf_keras.Input((2,)), tf_keras.layers.Dense(6, "tanh"), tf_keras.layers.Dense(1)]
    )
    model.compile(loss="mse")
    x = np.random.default_rng(0).standard_normal((60, 2)).astype(np.float32)
    y = x[:, :1] * x[:, 1:]
    before = model.evaluate(x, y, verbose=0)
    history = bridge.fit(model, x, y, epochs=20, verbose=0)
    after = model.evaluate(x, y, verbose=0)
    assert after < 0.1 * before
    np.testing.assert_allclose(after, history.history["loss"][-1], rtol=1e-3)
