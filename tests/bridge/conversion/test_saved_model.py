"""``bridge.export``: SavedModels that TensorFlow serves without Keras."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
import zipfile

import h5py
import numpy as np
import pytest

import bridge
from bridge._src.command.main import main

pytest.importorskip("tensorflow", reason="a SavedModel is TensorFlow's")


def served(folder, x):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))  # its variables live as long as it does
    return np.asarray(loaded.serve(x))


@pytest.mark.slow
def test_live_and_from_a_file(build, saved, feed, outputs, tmp_path, capsys):
    model = build("mixed")
    x = feed(model)
    assert bridge.export(model, tmp_path / "live") == tmp_path / "live"
    np.testing.assert_allclose(
        served(tmp_path / "live", x), outputs(model, x)[0], rtol=0, atol=1e-6
    )
    path = saved("mixed")
    assert main(["export", str(path), "-o", str(tmp_path / "file")]) == 0
    assert "wrote" in capsys.readouterr().out
    converted = bridge.from_keras(path)
    np.testing.assert_allclose(
        served(tmp_path / "file", x), converted(converted.params, x), rtol=0, atol=1e-5
    )
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_process_without_a_backend_gets_tensorflow(saved, tmp_path):
    code = (
        "import sys, bridge; bridge.export(sys.argv[1], sys.argv[2]); import keras; "
        "print(keras.backend.backend())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved("mlp")), str(tmp_path / "made")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "tensorflow"
    assert (tmp_path / "made" / "saved_model.pb").is_file()


def test_nothing_is_overwritten_or_left_behind(build, saved, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    with pytest.raises(bridge.ConversionError, match="exists already"):
        bridge.export(build("mlp"), tmp_path / "there")
    with pytest.raises(bridge.ConversionError, match="cannot be made"):
        bridge.export(build("mlp"), tmp_path / "no" / "folder")
    with pytest.raises(bridge.ConversionError, match=r"missing\.keras"):
        bridge.export(tmp_path / "missing.keras", tmp_path / "new")
    model = build("mlp")
    monkeypatch.setattr(model, "export", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bridge.export(model, tmp_path / "new")
    bridge.pack(saved("mlp"), tmp_path / "bundle.lmjax")
    with pytest.raises(bridge.ConversionError, match="unpack it"):
        bridge.export(tmp_path / "bundle.lmjax", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_without_tensorflow_the_extra_is_named(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(bridge.ConversionError, match=r"lmjax\[tensorflow\]"):
        bridge.export(saved("mlp"), tmp_path / "new")


def _with_initializer(serialized):
    """Code where the conversion does not look: it would be run when Keras makes the layer."""
    code = {
        "class_name": "__lambda__",
        "module": "builtins",
        "config": {"code": "4wEAAAAA", "defaults": None, "closure": None},
    }
    serialized["config"]["layers"][1]["config"]["bias_initializer"] = code


def _with_import(serialized):
    serialized["config"]["layers"][1]["config"]["dtype"] = {
        "class_name": "system",
        "module": "os",
        "config": {"name": "float32"},
    }


def _with_lambda(serialized):
    layer = {
        "class_name": "Lambda",
        "module": "keras.layers",
        "registered_name": None,
        "config": {"name": "code", "trainable": True},
    }
    serialized["config"]["layers"].append(layer)


def test_keras_gets_what_was_accepted_and_nothing_else(saved, tmp_path, capsys, monkeypatch):
    import keras

    given = []
    load = keras.saving.load_model
    monkeypatch.setattr(
        keras.saving,
        "load_model",
        lambda path, **options: given.append(str(path)) or load(path, **options),
    )
    source = saved("mlp")

    def changed(change):
        path = tmp_path / f"{change.__name__}.keras"
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                config = json.loads(old.read(name)) if name == "config.json" else None
                if config is not None:
                    change(config)
                new.writestr(name, old.read(name) if config is None else json.dumps(config))
        return path

    for change in (_with_lambda, _with_import):
        path = changed(change)
        assert main(["export", str(path), "-o", str(tmp_path / "no")]) == 2
        written = capsys.readouterr().err
        assert str(path) in written or "code" in written
        assert "Traceback" not in written
    assert given == []
    # The code is not passed on.
    assert main(["export", str(changed(_with_initializer)), "-o", str(tmp_path / "made")]) == 0
    x = np.ones((2, 3), "float32")
    converted = bridge.from_keras(source)
    np.testing.assert_allclose(
        served(tmp_path / "made", x), converted(converted.params, x), rtol=0, atol=1e-5
    )
    model = load(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        file["model_weights"]["elsewhere"] = h5py.ExternalLink("/etc/hostname", "/x")
    assert main(["export", str(tmp_path / "model.h5"), "-o", str(tmp_path / "hdf5")]) == 0
    np.testing.assert_allclose(
        served(tmp_path / "hdf5", x), converted(converted.params, x), rtol=0, atol=1e-5
    )
    assert given
    assert not {str(source), str(tmp_path / "model.h5")} & set(given)
