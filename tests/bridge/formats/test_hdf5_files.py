"""Whole models in HDF5 files and files of weights, read and written without Keras."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import bridge
from bridge._src.command.main import main

MODELS = ["mlp", "mixed", "images", "tokens", "functional"]

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


def _bits(model):
    return [np.asarray(weight).tobytes() for weight in model.weights]


def _same(first, second):
    assert first.graph == second.graph
    assert jax.tree.structure((first.params, first.state)) == jax.tree.structure(
        (second.params, second.state)
    )
    leaves = (jax.tree.leaves((model.params, model.state)) for model in (first, second))
    assert all(ours.tobytes() == theirs.tobytes() for ours, theirs in zip(*leaves, strict=True))


def _changed(params):
    return jax.tree.map(lambda leaf: leaf * np.float32(1.25) + np.float32(0.5), params)


@pytest.mark.parametrize("name", MODELS)
def test_hdf5_models(name, build, keras, tmp_path):
    model = build(name)
    model.layers[-1].trainable = False
    model.save(tmp_path / "model.h5")
    converted = bridge.from_keras(tmp_path / "model.h5")
    _same(converted, bridge.from_keras(model))

    bridge.save(converted, tmp_path / "model.h5", tmp_path / "same.h5")
    assert (tmp_path / "same.h5").read_bytes() == (tmp_path / "model.h5").read_bytes()
    bridge.save(_changed(converted.params), tmp_path / "model.h5", tmp_path / "new.h5")
    bridge.to_keras(_changed(converted.params), model)
    assert _bits(keras.saving.load_model(tmp_path / "new.h5")) == _bits(model)


@pytest.mark.parametrize("name", MODELS)
def test_files_of_weights(name, build, keras, tmp_path):
    model, other = build(name), build(name)
    model.save(tmp_path / "model.keras")
    for weight in other.weights:
        weight.assign(np.asarray(weight) + np.float32(1))
    other.save_weights(tmp_path / "other.weights.h5")
    converted = bridge.from_keras(tmp_path / "model.keras", weights=tmp_path / "other.weights.h5")
    leaves = jax.tree.leaves((converted.params, converted.state))
    assert sorted(leaf.tobytes() for leaf in leaves) == sorted(_bits(other))
    _same(converted, bridge.from_keras(model, weights=tmp_path / "other.weights.h5"))

    files = [tmp_path / "new.weights.h5", tmp_path / "new.keras"]
    for target in files:
        bridge.save(
            _changed(converted.params),
            tmp_path / "model.keras",
            target,
            weights=tmp_path / "other.weights.h5",
        )
    model.load_weights(files[0])
    assert _bits(model) == _bits(keras.saving.load_model(files[1]))
    assert _bits(model) != _bits(other)

    own = _changed(bridge.from_keras(tmp_path / "model.keras").params)
    for target in (tmp_path / "own.weights.h5", tmp_path / "own.keras"):
        bridge.save(own, tmp_path / "model.keras", target)
    model.load_weights(tmp_path / "own.weights.h5")
    assert _bits(model) == _bits(keras.saving.load_model(tmp_path / "own.keras"))


def test_a_frozen_half_changes_the_order_in_the_file(keras, tmp_path):
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4, 2)), layers.Bidirectional(layers.LSTM(3)), layers.Dense(1)]
    )
    model.layers[0].forward_layer.trainable = False
    model.save(tmp_path / "model.h5")
    _same(bridge.from_keras(tmp_path / "model.h5"), bridge.from_keras(model))


@pytest.mark.slow
def test_optimizer_and_loss_of_an_hdf5_file(build, keras, tmp_path):
    model = build("mlp")
    model.compile("adam", keras.losses.MeanSquaredError())
    model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
    model.save(tmp_path / "model.h5")
    x = np.random.default_rng(0).standard_normal((30, 3))
    np.savez(tmp_path / "data.npz", x=x, y=x[:, :2])
    assert (
        main(
            [
                "fit",
                str(tmp_path / "model.h5"),
                str(tmp_path / "data.npz"),
                "-o",
                str(tmp_path / "new.h5"),
                "--epochs",
                "3",
                "-q",
            ]
        )
        == 0
    )
    loaded = keras.saving.load_model(tmp_path / "new.h5")
    assert loaded.evaluate(x, x[:, :2], verbose=0) < model.evaluate(x, x[:, :2], verbose=0)
    for before, after in zip(
        keras.saving.load_model(tmp_path / "model.h5").optimizer.variables,
        loaded.optimizer.variables,
        strict=True,
    ):
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.slow
def test_the_command_takes_and_writes_files_of_weights(build, tmp_path):
    model = build("mlp")
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "start.weights.h5")
    x = np.random.default_rng(0).standard_normal((30, 3))
    np.savez(tmp_path / "data.npz", x=x, y=x[:, :2])
    common = [str(tmp_path / "model.keras"), str(tmp_path / "data.npz"), "--epochs", "3", "-q"]
    assert (
        main(
            [
                "fit",
                *common,
                "--weights",
                str(tmp_path / "start.weights.h5"),
                "-o",
                str(tmp_path / "a.weights.h5"),
            ]
        )
        == 0
    )
    assert main(["fit", *common, "-o", str(tmp_path / "b.weights.h5")]) == 0
    _same(
        *(
            bridge.from_keras(tmp_path / "model.keras", weights=tmp_path / name)
            for name in ("a.weights.h5", "b.weights.h5")
        )
    )


@pytest.mark.parametrize(
    ("source", "target", "match"),
    [
        ("model.keras", "x.h5", r"must end in \.keras"),
        ("model.h5", "x.keras", r"must end in \.h5"),
        ("model.h5", "x.weights.h5", r"needs a \.keras file as source"),
        ("model.weights.h5", "x.weights.h5", "holds weights only"),
        ("model.txt", "x.txt", r"is not a \.keras"),
    ],
)
def test_kinds_that_do_not_go_together(source, target, match, build, tmp_path):
    model = build("mlp")
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
    with pytest.raises(bridge.ConversionError, match=match):
        bridge.save(bridge.from_keras(model), tmp_path / source, tmp_path / target)
    assert not (tmp_path / target).exists()


def test_weights_of_another_model(saved, build, tmp_path):
    build("images").save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(bridge.ConversionError, match=r"other\.weights\.h5"):
        bridge.from_keras(saved("mlp"), weights=tmp_path / "other.weights.h5")
    with pytest.raises(bridge.ConversionError, match="converted already"):
        bridge.from_keras(bridge.from_keras(saved("mlp")), weights=tmp_path / "other.weights.h5")
