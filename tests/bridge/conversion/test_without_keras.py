"""What an import loads, and what works when Keras and TensorFlow are not there."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

_BLOCKED = "import sys\nfor name in ('keras', 'tensorflow', 'tf_keras'): sys.modules[name] = None\n"


def _run(code, *arguments, **environment):
    # With XLA as users have it.
    environment = os.environ | {"XLA_FLAGS": ""} | environment
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_no_keras():
    found = _run(
        "import sys, bridge; print([name for name in ('keras', 'tensorflow', 'tf_keras') "
        "if name in sys.modules])"
    )
    assert found.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixed", "functional"])
def test_reading_and_saving_a_file_without_keras(
    name, saved, tmp_path, build, feed, keras, outputs
):
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
        np.testing.assert_array_equal(
            np.asarray(new), np.asarray(old) + np.float32(new.path in trainable)
        )


_ON_JAX = """
import sys
sys.modules["tensorflow"] = None  # not installed
import warnings
import keras, bridge, lmjax, numpy

layers = keras.layers

class Own(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", regularizer=keras.regularizers.L2(0.01))
        self.inner = layers.Dense(4, "gelu")
        self.inner.build(shape)

    def call(self, x, training=False):
        return self.inner(x * self.scale) * (2 if training else 1)

class Losing(Own):
    def call(self, x):
        self.add_loss(keras.ops.sum(x))
        return x

def model(own):
    inner = keras.Sequential([layers.Dense(3, "tanh", kernel_regularizer="l2"), own])
    made = keras.Sequential([keras.Input((3,)), layers.Dense(4, "tanh"), inner, layers.LayerNormalization(), layers.Dense(1)])
    made.compile(loss="mse")
    return made

bridge.run_in_keras(Own)
bridge.run_in_keras(Losing)
keras.utils.set_random_seed(1)
x = numpy.random.default_rng(0).normal(size=(40, 3))
y = numpy.sin(x.sum(axis=1, keepdims=True))
plain, own = model(layers.Dropout(0.1)), model(Own(name="own"))
for trained in (plain, own):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        converted = bridge.from_keras(trained)
    said = [str(warning.message) for warning in caught]
    assert any("layer 'own' (Own) runs through Keras' own call, in float32" in line for line in said) == (trained is own), said
    assert abs(converted(converted.params, x) - trained(x, training=False)).max() < 5e-6
    before = trained.evaluate(x, y, verbose=0)
    history = bridge.fit(trained, x, y, epochs=10, verbose=0).history["loss"]
    after = trained.evaluate(x, y, verbose=0)
    assert after < 0.8 * before and abs(after / history[-1] - 1) < 1e-4, (before, after, history)
double = bridge.fit(own, x, y, epochs=50, verbose=0, dtype="float64")  # from derivatives that are right to seven digits only
assert double.history["loss"][-1] < 0.8 * after and double.status != lmjax.Status.PRECISION, double
try:
    bridge.from_keras(model(Losing()))
except bridge.ConversionError as error:
    assert "adds a loss of its own" in str(error), error
else:
    raise AssertionError("a loss of the layer's own went unnoticed")
assert sys.modules["tensorflow"] is None
print("fine")
"""


@pytest.mark.slow
def test_live_models_on_jax_where_tensorflow_is_not_installed():
    """Conversion and training, and layers of the user's own that run in Keras."""
    assert _run(_ON_JAX, KERAS_BACKEND="jax", PYTHONWARNINGS="ignore").splitlines()[-1] == "fine"


@pytest.mark.slow
def test_a_live_model_on_jax_loads_no_tensorflow():
    code = (
        "import sys, keras, bridge\n"
        "model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "
        "kernel_regularizer='l2')])\n"
        "bridge.to_keras(bridge.from_keras(model), model)\n"
        "print('tensorflow' in sys.modules)\n"
    )
    assert _run(code, KERAS_BACKEND="jax").strip() == "False"
