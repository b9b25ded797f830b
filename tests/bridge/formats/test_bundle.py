"""Portable bundles: training where neither Keras nor TensorFlow is installed, and the way back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

import bridge

_BLOCKED = (
    "import sys\nfor name in ('keras', 'tensorflow', 'tf_keras', 'h5py'): sys.modules[name] "
    "= None\n"
)


def _run(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED + code, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _same(first, second):
    assert first.graph == second.graph
    assert first.module == second.module
    for ours, theirs in zip(first.table, second.table, strict=True):
        assert (
            ours.path,
            ours.shape,
            ours.dtype,
            ours.trainable,
            ours.regularizer,
            ours.constraint,
        ) == (
            theirs.path,
            theirs.shape,
            theirs.dtype,
            theirs.trainable,
            theirs.regularizer,
            theirs.constraint,
        )
    for ours, theirs in ((first.params, second.params), (first.state, second.state)):
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        assert [leaf.tobytes() for leaf in jax.tree.leaves(ours)] == [
            leaf.tobytes() for leaf in jax.tree.leaves(theirs)
        ]


@pytest.mark.parametrize("name", ["mlp", "mixed", "images", "tokens", "functional"])
def test_a_bundle_is_the_model_from_file_and_live(name, build, tmp_path):
    model = build(name)
    model.save(tmp_path / "model.keras")
    bridge.pack(model, tmp_path / "live.lmjax")
    bridge.pack(tmp_path / "model.keras", tmp_path / "file.lmjax")
    _same(bridge.from_keras(tmp_path / "live.lmjax"), bridge.from_keras(model))
    _same(bridge.from_keras(tmp_path / "file.lmjax"), bridge.from_keras(tmp_path / "model.keras"))


def test_a_layer_used_twice_survives_as_files_of_keras_do_not(build, feed, tmp_path, outputs):
    model = build("repeated")
    converted = bridge.from_keras(bridge.pack(model, tmp_path / "model.lmjax"))
    x = feed(model)
    np.testing.assert_allclose(
        converted(converted.params, x), outputs(model, x)[0], rtol=0, atol=1e-6
    )


def test_equal_models_give_equal_bytes(saved, tmp_path):
    path = saved("mixed")
    first, second = (
        bridge.pack(path, tmp_path / name).read_bytes() for name in ("a.lmjax", "b.lmjax")
    )
    assert first == second
    copy = bridge.save(
        bridge.from_keras(tmp_path / "a.lmjax"), tmp_path / "a.lmjax", tmp_path / "c.lmjax"
    )
    assert copy.read_bytes() == first


def test_every_bit_and_dtype_survives(keras, tmp_path):
    layers = [
        keras.layers.Dense(3, dtype=dtype)
        for dtype in ("float32", "float64", "float16", "bfloat16")
    ]
    model = keras.Sequential(
        [keras.Input((3,)), *layers, keras.layers.Normalization(mean=0.0, variance=1.0)]
    )
    kernel = np.array(
        [[np.nan, -0.0, 1e-45], [np.inf, -np.inf, 1.0], [1 / 3, 2.0, 3e38]], np.float32
    )
    model.layers[0].kernel.assign(kernel)
    bridge.pack(model, tmp_path / "model.lmjax")
    with zipfile.ZipFile(tmp_path / "model.lmjax") as archive:
        dtypes = {entry["dtype"] for entry in json.loads(archive.read("bundle.json"))["weights"]}
    assert dtypes >= {"float32", "float64", "float16", "bfloat16"}
    assert (
        bridge.from_keras(tmp_path / "model.lmjax", "float32")
        .params[model.layers[0].name]["kernel"]
        .tobytes()
        == kernel.tobytes()
    )
    fresh = keras.models.clone_model(model)
    # everything is trainable here, so that unpacking writes every weight
    bridge.unpack(tmp_path / "model.lmjax", fresh)
    assert [np.asarray(weight).tobytes() for weight in fresh.weights] == [
        np.asarray(weight).tobytes() for weight in model.weights
    ]


@pytest.mark.slow
def test_training_without_keras_tensorflow_or_hdf5(build, keras, tmp_path):
    model = build("mlp")
    model.layers[0].trainable = False
    model.compile("adam", keras.losses.MeanSquaredError())
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    bridge.pack(tmp_path / "model.keras", tmp_path / "model.lmjax")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3))
    y = np.stack([x.sum(1), x[:, 0] - x[:, 1]], 1)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    code = "from bridge._src.command.main import main; sys.exit(main(sys.argv[1:]))"
    _run(
        code,
        "fit",
        tmp_path / "model.lmjax",
        tmp_path / "data.npz",
        "-o",
        tmp_path / "fitted.lmjax",
        "--epochs",
        30,
        "-q",
    )
    assert "mlp" in _run(code, "info", tmp_path / "fitted.lmjax")

    fitted = bridge.from_keras(tmp_path / "fitted.lmjax", "float64")
    bridge.unpack(tmp_path / "fitted.lmjax", tmp_path / "model.keras", tmp_path / "fitted.keras")
    loaded = keras.saving.load_model(tmp_path / "fitted.keras")
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), fitted(fitted.params, x), rtol=0, atol=2e-6
    )
    assert loaded.evaluate(x, y, verbose=0) < 0.9 * model.evaluate(x, y, verbose=0)
    for before, after in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
    bridge.unpack(tmp_path / "fitted.lmjax", model)
    assert [np.asarray(weight).tobytes() for weight in loaded.weights] == [
        np.asarray(weight).tobytes() for weight in model.weights
    ]


@pytest.mark.slow
def test_loading_training_and_writing_from_python_without_keras(saved, tmp_path):
    bridge.pack(saved("mlp"), tmp_path / "model.lmjax")
    code = (
        "import numpy, bridge\n"
        "from bridge._src.training.train import train\n"
        "from lmjax._src.training.data import InMemory\n"
        "model = bridge.from_keras(sys.argv[1], 'float64')\n"
        "x = numpy.random.default_rng(0).standard_normal((30, 3))\n"
        "result = train(model, InMemory(x, x[:, :2]), loss='mse', epochs=3, verbose=0)\n"
        "bridge.save(result.params, sys.argv[1], sys.argv[2])\n"
        "again = bridge.from_keras(sys.argv[2], 'float64')\n"
        "print(float(((again(again.params, x) - x[:, :2])**2).mean()) < "
        "float(((model(model.params, x) - x[:, :2])**2).mean()))\n"
    )
    assert _run(code, tmp_path / "model.lmjax", tmp_path / "fitted.lmjax").strip() == "True"


def test_a_bundle_goes_back_only_where_it_came_from(build, saved, tmp_path):
    model = build("mlp")
    model.layers[0].trainable = False
    path = tmp_path / "frozen.keras"
    model.save(path)
    bridge.pack(path, tmp_path / "model.lmjax")
    model.layers[0].bias.assign(np.zeros(5))
    with pytest.raises(
        bridge.ConversionError,
        match=r"was not packed from mlp: their frozen weights .*/bias differ",
    ):
        bridge.unpack(tmp_path / "model.lmjax", model)
    with pytest.raises(bridge.ConversionError, match=r"params do not fit|was not packed"):
        bridge.unpack(tmp_path / "model.lmjax", saved("mixed"), tmp_path / "x.keras")
    with pytest.raises(bridge.ConversionError, match="target must be given"):
        bridge.unpack(tmp_path / "model.lmjax", path)
    assert not (tmp_path / "x.keras").exists()


def test_commands(saved, tmp_path, capsys):
    from bridge._src.command.main import main

    path = saved("mixed")
    assert main(["pack", str(path), "-o", str(tmp_path / "m.lmjax")]) == 0
    assert (
        main(["unpack", str(tmp_path / "m.lmjax"), str(path), "-o", str(tmp_path / "same.keras")])
        == 0
    )
    _same(bridge.from_keras(tmp_path / "same.keras"), bridge.from_keras(path))
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {tmp_path / 'm.lmjax'}",
        f"wrote {tmp_path / 'same.keras'}",
    ]
    assert main(["pack", str(path), "-o", str(tmp_path / "m.zip")]) == 2
    assert main(["unpack", str(tmp_path / "m.lmjax"), str(path), "-o", str(tmp_path / "m.h5")]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_models_that_cannot_be_packed(keras, tmp_path):
    with pytest.raises(bridge.ConversionError, match=r"must end in \.lmjax"):
        bridge.pack(tmp_path / "x.keras", tmp_path / "x.zip")
    with pytest.raises(bridge.ConversionError, match="model must be a Keras model"):
        bridge.pack(3, tmp_path / "x.lmjax")
    assert not os.listdir(tmp_path)
