"""Layers of the user's own through Keras' call on TensorFlow (where tf2jax is installed), JaxLayer
and FlaxLayer.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the oracle is Keras on TensorFlow")

import tensorflow as tf

import bridge
from lmjax._src.runtime.precision import scope
from tests.bridge.layers.test_conformance import (
    FAST_COMPILATION,
    ROUNDING,
    check_round_trip,
    relative_difference,
)

needs_tf2jax = pytest.mark.skipif(
    importlib.util.find_spec("tf2jax") is None, reason="tf2jax is an extra of its own"
)
X = np.random.default_rng(0).normal(size=(5, 3))


@keras.saving.register_keras_serializable("tests")
def polynomial(params: Any, inputs: Any) -> Any:
    return jnp.tanh(inputs @ params["matrix"]) + params["shift"]


@keras.saving.register_keras_serializable("tests")
def start(rng: Any, inputs: Any) -> Any:
    return {"matrix": jnp.full((3, 2), 0.3), "shift": jnp.arange(2.0)}


class Normed(nn.Module):
    """With state, and another behaviour in training."""

    @nn.compact
    def __call__(self, inputs: Any, training: bool = False) -> Any:
        return nn.Dropout(0.5, deterministic=not training)(
            nn.BatchNorm(use_running_average=not training)(nn.Dense(4)(inputs))
        )


def _jax_layer() -> Any:
    inputs = keras.Input((3,))
    return keras.Model(
        inputs, keras.layers.Dense(2)(keras.layers.JaxLayer(polynomial, start, name="own")(inputs))
    )


def _flax_layer() -> Any:
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.FlaxLayer(Normed(), name="own"), keras.layers.Dense(2)]
    )


@pytest.fixture
def keras_runs_jax() -> None:
    """Skips where TensorFlow cannot read what JAX hands to it, so that Keras cannot run its own
    layers.
    """
    try:
        _jax_layer()(X.astype("float32"))
    except (tf.errors.InvalidArgumentError, NotImplementedError) as error:
        if "failed to deserialize portable artifact" not in str(
            error
        ) and "XlaCallModule from your TensorFlow" not in str(error):
            raise
        pytest.skip(
            f"TensorFlow {tf.__version__} is too old for programs of JAX "
            f"{jax.__version__}, so that Keras cannot run its own layer"
        )


@pytest.mark.slow
@pytest.mark.parametrize("make", [_jax_layer, _flax_layer])
def test_layers_with_functions_of_jax(make: Any, keras_runs_jax: None, tmp_path: Any) -> None:
    model = make()
    for weight in model.weights:
        weight.assign(np.random.default_rng(1).uniform(0.2, 0.9, weight.shape))
    single, double = bridge.from_keras(model), bridge.from_keras(model, "float64")
    assert (
        relative_difference(
            single(single.params, X), np.asarray(model(X.astype("float32"), training=False))
        )
        < 5e-6
    )
    with scope("float64"):
        modes = [
            jax.jit(mode(double.apply))
            .trace(double.params, X)
            .lower()
            .compile(FAST_COMPILATION)(double.params, X)
            for mode in (jax.jacfwd, jax.jacrev)
        ]
    assert np.asarray(modes[0]["own"]["variable_0"]).dtype == np.float64
    for one, other in zip(*map(jax.tree.leaves, modes), strict=True):
        assert relative_difference(one, other) <= ROUNDING
    check_round_trip(single, model)
    assert bridge.verify(model).error < 5e-6
    with pytest.raises(
        bridge.ConversionError, match=r"own \((Jax|Flax)Layer\): its Python code is in no file"
    ):
        bridge.pack(model, tmp_path / "model.lmjax")


@keras.saving.register_keras_serializable("tests")
class Own(keras.layers.Layer):
    """Weights of its own and of an inner layer, sizes read from the inputs, other behaviour in
    training, a regularizer.
    """

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(
            shape=(shape[-1],), initializer="ones", regularizer=keras.regularizers.L2(0.01)
        )
        self.inner = keras.layers.Dense(4, "gelu")
        self.inner.build(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        x = x * self.scale / keras.ops.cast(keras.ops.shape(x)[1], x.dtype)
        x = keras.ops.reshape(self.inner(x), (x.shape[0] or -1, 2, 2))
        return keras.ops.sum(x, axis=1) * (2.0 if training else 1.0)


@pytest.fixture
def allowed() -> Iterator[None]:
    bridge.run_in_keras(Own)
    yield
    bridge.unregister_converter(Own)


def _own() -> Any:
    model = keras.Sequential([keras.Input((3,)), Own(name="own"), keras.layers.Dense(1)])
    model.compile(loss="mse")
    return model


@needs_tf2jax
@pytest.mark.filterwarnings("ignore:.*runs through Keras' own call:UserWarning")
def test_a_layer_of_the_users_own(allowed: None) -> None:
    model = _own()
    with pytest.warns(
        UserWarning, match=r"layer 'own' \(Own\) runs through Keras' own call, in float32"
    ):
        converted = bridge.from_keras(model)
    assert (
        relative_difference(
            converted(converted.params, X), np.asarray(model(X.astype("float32"), training=False))
        )
        < 5e-6
    )
    check_round_trip(converted, model)
    forward, reverse = (
        jax.jit(mode(converted.apply))(converted.params, X) for mode in (jax.jacfwd, jax.jacrev)
    )
    for one, other in zip(*map(jax.tree.leaves, (forward, reverse)), strict=True):
        assert relative_difference(one, other) < 1e-5
    y = np.sin(X.sum(axis=1, keepdims=True))
    before = model.evaluate(X, y, verbose=0)
    history = bridge.fit(model, X, y, epochs=10, verbose=0)
    assert model.evaluate(X, y, verbose=0) == pytest.approx(history.history["loss"][-1], rel=1e-4)
    assert history.history["loss"][-1] < 0.5 * before


def test_nothing_runs_unasked() -> None:
    with pytest.raises(
        bridge.ConversionError,
        match=r"no converter is registered for this class.*bridge.run_in_keras",
    ):
        bridge.from_keras(_own())


@pytest.mark.skipif(importlib.util.find_spec("tf2jax") is not None, reason="tf2jax is installed")
def test_the_missing_package_is_named(allowed: None) -> None:
    with pytest.raises(bridge.ConversionError, match=r"pip install 'lmjax\[tf2jax\]'"):
        bridge.from_keras(_own())
