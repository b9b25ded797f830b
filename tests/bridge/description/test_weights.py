"""The weight table: paths, order, what is trainable, options, completeness."""

from __future__ import annotations

import numpy as np
import pytest

import bridge
from bridge._src.description.weights import (
    WeightEntry,
    WeightTable,
    keep_bits,
    leaves,
    merge,
    nest,
    same_bits,
)


def _trainable(model):
    return {entry.name: entry.trainable for entry in model.table}


def test_paths_in_the_order_of_keras(build):
    model = build("mixed")
    table = bridge.from_keras(model).table
    assert [entry.handle.path for entry in table] == [weight.path for weight in model.weights]
    names = [
        "/".join(part.split("_")[0] if "dense" in part else part for part in entry.path)
        for entry in table
    ]
    assert "inner/dense/kernel" in names
    assert any(name.endswith("activation/alpha") for name in names)
    assert any(name.endswith("cell/recurrent_kernel") for name in names)


def test_moving_statistics_are_state(build):
    converted = bridge.from_keras(build("mixed"))
    frozen = {path[-1] for path, _ in leaves(converted.state)}
    assert frozen == {"moving_mean", "moving_variance"}


@pytest.mark.parametrize("from_file", [False, True])
def test_frozen_layer_and_frozen_model(keras, tmp_path, from_file):
    layers = keras.layers
    inner = keras.Sequential([layers.Dense(2, name="a"), layers.Dense(2, name="b")], name="inner")
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, name="first"),
            inner,
            layers.LayerNormalization(name="norm"),
        ]
    )
    model.layers[0].trainable = False
    inner.trainable = False
    source = model
    if from_file:
        source = tmp_path / "frozen.keras"
        model.save(source)
    converted = bridge.from_keras(source)
    assert {name for name, trainable in _trainable(converted).items() if trainable} == {
        "norm/gamma",
        "norm/beta",
    }
    assert set(converted.params) == {"norm"}
    assert set(converted.state) == {"first", "inner"}
    assert converted.table.num_params == 4


def test_single_frozen_variable(keras):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="d")])
    model.layers[0].bias.trainable = False
    assert _trainable(bridge.from_keras(model)) == {"d/kernel": True, "d/bias": False}


def test_frozen_whole_model(keras):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="d")])
    model.trainable = False
    converted = bridge.from_keras(model)
    assert converted.params == {}
    assert converted(converted.params, np.ones((2, 3))).shape == (2, 4)


@pytest.mark.parametrize("from_file", [False, True])
def test_options_of_the_weights(keras, tmp_path, from_file):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.LSTM(2, recurrent_regularizer="l1", kernel_constraint="non_neg", name="lstm"),
            layers.Dense(
                3,
                bias_regularizer=keras.regularizers.L2(0.25),
                kernel_constraint=keras.constraints.MaxNorm(2.0),
                name="dense",
            ),
            layers.Dense(1, activity_regularizer="l2", name="active"),
            layers.ActivityRegularization(l1=0.5, name="penalty"),
        ]
    )
    source = model
    if from_file:
        source = tmp_path / "options.keras"
        model.save(source)
    converted = bridge.from_keras(source)
    entries = {entry.name: entry for entry in converted.table}
    assert entries["lstm/cell/recurrent_kernel"].regularizer["class_name"] == "L1"
    assert entries["lstm/cell/kernel"].constraint["class_name"] == "NonNeg"
    assert entries["dense/bias"].regularizer["config"] == {"l2": 0.25}
    assert entries["dense/kernel"].constraint["config"]["max_value"] == 2.0
    assert sum(entry.regularizer is not None for entry in entries.values()) == 2
    found = converted.graph.activity_regularizers()
    assert found["active"]["class_name"] == "L2"
    assert found["penalty"]["config"] == {"l1": 0.5, "l2": 0.0}


def test_a_weight_that_no_converter_expects_is_an_error(keras):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="d")])
    model.layers[0]._tracker.unlock()
    model.layers[0].extra = model.layers[0].add_weight(shape=(2,), name="extra")
    with pytest.raises(bridge.ConversionError, match=r"layer d has the weights .*extra"):
        bridge.from_keras(model)


def test_a_variable_in_two_places_is_an_error(keras):
    shared = keras.layers.Dense(3, name="shared")
    inner = keras.Sequential([keras.Input((3,)), shared], name="inner")
    model = keras.Sequential([keras.Input((3,)), shared, inner])
    with pytest.raises(
        bridge.ConversionError, match="inner/shared/kernel is the same variable as shared/kernel"
    ):
        bridge.from_keras(model)


def test_check_lists_every_misfit():
    table = WeightTable(
        [
            WeightEntry(("a", "kernel"), (2, 3), "float32", True, None, None, None),
            WeightEntry(("a", "bias"), (3,), "float32", True, None, None, None),
            WeightEntry(("b", "mean"), (1,), "float32", False, None, None, None),
        ]
    )
    given = {"a": {"kernel": np.zeros((3, 2))}, "b": {"mean": np.zeros(1)}, "c": np.zeros(1)}
    with pytest.raises(bridge.ConversionError) as caught:
        table.check(given, "model 'm'")
    message = str(caught.value)
    for part in (
        "a/kernel: given shape (3, 2), expected (2, 3)",
        "a/bias: missing",
        "b/mean: frozen",
        "c: not a weight",
        "nothing was written",
    ):
        assert part in message


def test_nested_dictionaries():
    flat = {("a", "x"): 1, ("a", "b", "y"): 2, ("c",): 3}
    assert dict(leaves(nest(flat))) == flat
    assert merge({"a": {"x": 1}}, {"a": {"b": {"y": 2}}, "c": 3}) == nest(flat)


def test_unchanged_numbers_keep_their_bits():
    payload = np.array(
        [0x7FC00001, 0xFFC12345, 0x80000000, 0x00000001, 0x7F800000], np.uint32
    ).view(np.float32)
    assert same_bits(keep_bits(payload.astype(np.float64), payload), payload)
    assert not same_bits(np.array([0.0]), np.array([-0.0]))
    assert keep_bits(np.array([1 + 2.0**-30]), np.ones(1, np.float32)).dtype == np.float32
