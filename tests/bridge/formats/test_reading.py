"""A live model and its file are read into the same graph, table and values."""

from __future__ import annotations

import numpy as np
import pytest

import bridge
from bridge._src.description.config import canonical, saved_names
from bridge._src.description.identity import key_of

MODELS = ["mlp", "mixed", "images", "tokens", "functional"]


def _rows(model):
    return [
        (entry.path, entry.shape, entry.dtype, entry.trainable, entry.regularizer, entry.constraint)
        for entry in model.table
    ]


@pytest.mark.parametrize("name", MODELS)
def test_file_and_live_model_agree(name, build, tmp_path):
    model = build(name)
    live = bridge.from_keras(model)
    model.save(tmp_path / "model.keras")
    file = bridge.from_keras(tmp_path / "model.keras")
    assert file.graph == live.graph
    assert file.module == live.module
    assert hash(file.module) == hash(live.module)
    assert _rows(file) == _rows(live)
    for first, second in ((file.params, live.params), (file.state, live.state)):
        np.testing.assert_equal(first, second)


@pytest.mark.parametrize("name", [*MODELS, "repeated"])
def test_outputs_agree_with_keras(name, build, feed, outputs):
    model = build(name)
    x = feed(model)
    converted = bridge.from_keras(model)
    found = converted(converted.params, x)
    for ours, keras_output in zip(
        found if isinstance(found, list) else [found], outputs(model, x), strict=True
    ):
        np.testing.assert_allclose(
            ours, keras_output, rtol=0, atol=5e-6 * np.abs(keras_output).max()
        )


def test_equal_architectures_give_equal_modules(keras):
    def make(units):
        return bridge.from_keras(
            keras.Sequential([keras.Input((3,)), keras.layers.Dense(units, name="only")])
        )

    first, second, other = make(4), make(4), make(5)
    assert first.module == second.module
    assert hash(first.module) == hash(second.module)
    assert first.module != other.module


def test_weights_that_appear_late_are_found(keras):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, activation=keras.layers.PReLU())]
    )
    paths = [entry.path[1:] for entry in bridge.from_keras(model).table]
    assert paths == [("kernel",), ("bias",), ("activation", "alpha")]


def test_a_model_called_on_data_is_built(keras):
    model = keras.Sequential([keras.layers.Dense(2)])
    model(np.zeros((1, 3), np.float32))
    assert bridge.from_keras(model).table.num_params == 8


def test_subclasses_that_keep_the_graph_of_keras(keras):
    class Net(keras.Model):
        def __init__(self, units):
            inputs = keras.Input((3,))
            super().__init__(inputs, keras.layers.Dense(units, "tanh")(inputs), name="net")

    class Chain(keras.Sequential):
        pass

    model = Chain([keras.Input((3,)), Net(4), keras.layers.Dense(2)])
    converted = bridge.from_keras(model)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(converted(converted.params, x), np.asarray(model(x)), rtol=1e-5)
    assert bridge.from_keras(Net(4)).table.num_params == 16


def test_model_with_dictionary_outputs(keras):
    inputs = keras.Input((3,), name="x")
    model = keras.Model(
        {"x": inputs}, {"b": keras.layers.Dense(2)(inputs), "a": keras.layers.Dense(1)(inputs)}
    )
    converted = bridge.from_keras(model)
    x = np.ones((2, 3), np.float32)
    for key, value in converted(converted.params, {"x": x}).items():
        np.testing.assert_allclose(value, np.asarray(model({"x": x})[key]), rtol=1e-5)


def test_saved_names_follow_keras(keras):
    from keras.src.utils.naming import to_snake_case

    classes = [
        "Dense",
        "PReLU",
        "Dense",
        "Conv1D",
        "Conv2DTranspose",
        "LSTM",
        "GlobalAveragePooling2D",
        "ReLU",
        "RMSNormalization",
    ]
    expected = [to_snake_case(name) for name in classes]
    expected[2] += "_1"
    assert saved_names(classes) == expected


def test_canonical_opens_wrapped_sequences():
    wrapped = {
        "class_name": "__tuple__",
        "config": {
            "value": [
                1,
                {"class_name": "__numpy__", "config": {"value": [[2.5]], "dtype": "float32"}},
            ]
        },
    }
    assert canonical({"a": [wrapped, np.float32(0.5)]}) == {"a": ((1, ((2.5,),)), 0.5)}


def test_a_foreign_class_never_takes_the_key_of_a_keras_class():
    assert (
        key_of({"class_name": "Dense", "module": "keras.layers", "registered_name": None})
        == "Dense"
    )
    assert (
        key_of({"class_name": "Dense", "module": "my.layers", "registered_name": "Dense"})
        == "Custom>Dense"
    )
    assert (
        key_of({"class_name": "Dense", "module": None, "registered_name": "pkg>Dense"})
        == "pkg>Dense"
    )
    assert (
        key_of({"class_name": "Add", "module": "keras.src.ops.numpy", "registered_name": "Add"})
        == "keras.src.ops.numpy>Add"
    )
