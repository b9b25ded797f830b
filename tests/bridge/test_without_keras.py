"""What an import loads, and what works when Keras and TensorFlow are not there."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

_BLOCKED = "import sys\nfor name in ('keras', 'tensorflow', 'tf_keras'): sys.modules[name] = None\n"


def _run(code, *arguments, **environment):
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_no_keras():
    found = _run("import sys, bridge; print([name for name in ('keras', 'tensorflow', 'tf_keras') if name in sys.modules])")
    assert found.strip() == "[]"


@pytest.mark.parametrize("name", ["mixed", "functional"])
def test_reading_and_saving_a_file_without_keras(name, saved, tmp_path, build, feed, keras, outputs):
    path = saved(name)
    model = build(name)
    x = feed(model)
    np.savez(tmp_path / "x.npz", *(x if isinstance(x, list) else [x]))
    code = _BLOCKED + (
        "import jax, numpy, bridge\n"
        "model = bridge.from_keras(sys.argv[1], 'float64')\n"
        "x = list(numpy.load(sys.argv[2]).values())\n"
        "found = model(model.params, x)\n"
        "numpy.savez(sys.argv[3], *(found if isinstance(found, list) else [found]))\n"
        "bridge.save(jax.tree.map(lambda leaf: leaf + 1, model.params), sys.argv[1], sys.argv[4])\n"
    )
    _run(code, path, tmp_path / "x.npz", tmp_path / "y.npz", tmp_path / "new.keras")
    with np.load(tmp_path / "y.npz") as found:
        for ours, expected in zip(found.values(), outputs(model, x), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=0, atol=5e-6 * np.abs(expected).max())
    loaded = keras.saving.load_model(tmp_path / "new.keras")
    trainable = {weight.path for weight in loaded.trainable_weights}
    for new, old in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(new), np.asarray(old) + np.float32(new.path in trainable))


def test_a_live_model_on_jax_loads_no_tensorflow():
    code = (
        "import sys, keras, bridge, numpy\n"
        "layers = keras.layers\n"
        "inner = keras.Sequential([layers.Dense(3, 'relu', kernel_regularizer='l2')])\n"
        "model = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation='tanh'), inner, layers.LayerNormalization()])\n"
        "converted = bridge.from_keras(model)\n"
        "bridge.to_keras(converted, model)\n"
        "assert 'tensorflow' not in sys.modules\n"
        "x = numpy.ones((2, 3), numpy.float32)\n"
        "print(float(abs(converted(converted.params, x) - model(x)).max()))\n"
    )
    assert float(_run(code, KERAS_BACKEND="jax")) < 1e-6
