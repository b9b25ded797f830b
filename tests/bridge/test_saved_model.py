"""``bridge.export``: SavedModels that TensorFlow serves without Keras."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import bridge
from bridge.command import main

pytest.importorskip("tensorflow", reason="a SavedModel is TensorFlow's")


def served(folder, x):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))  # its variables live as long as it does
    return np.asarray(loaded.serve(x))


def test_live_and_from_a_file(build, saved, feed, outputs, tmp_path, capsys):
    model = build("mixed")
    x = feed(model)
    assert bridge.export(model, tmp_path / "live") == tmp_path / "live"
    np.testing.assert_allclose(served(tmp_path / "live", x), outputs(model, x)[0], rtol=0, atol=1e-6)
    path = saved("mixed")
    assert main(["export", str(path), "-o", str(tmp_path / "file")]) == 0
    assert "wrote" in capsys.readouterr().out
    converted = bridge.from_keras(path)
    np.testing.assert_allclose(served(tmp_path / "file", x), converted(converted.params, x), rtol=0, atol=1e-5)
    assert not list(tmp_path.glob(".*"))


def test_a_process_without_a_backend_gets_tensorflow(saved, tmp_path):
    code = "import sys, bridge; bridge.export(sys.argv[1], sys.argv[2]); import keras; print(keras.backend.backend())"
    done = subprocess.run([sys.executable, "-c", code, str(saved("mlp")), str(tmp_path / "made")], capture_output=True, text=True)
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
