"""A loss, activation, regularizer, constraint or method of the user's own is run as it is or
refused by name, never replaced by Keras'.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import bridge
from bridge._src.formats.compiled import serialized_loss
from bridge._src.layers.own_functions import _TENSORFLOW
from bridge._src.training.losses import as_loss, from_serialized, loss_of

tf = pytest.importorskip("tensorflow", reason="functions of TensorFlow as activations")
tf_keras = pytest.importorskip("tf_keras")

KITS = [pytest.param(keras, id="keras"), pytest.param(tf_keras, id="tf_keras")]
X = np.random.default_rng(0).uniform(0.05, 0.95, (6, 3)).astype("float32")


def swish(x: Any) -> Any:
    return x * tf.sigmoid(1.7 * x)


def leaky_relu(x: Any) -> Any:
    return tf.where(x < 0, 0.1 * x, x)


def mse(targets: Any, outputs: Any) -> Any:
    return 100 * keras.ops.mean(keras.ops.square(targets - outputs), axis=-1)


def mean_squared_error(targets: Any, outputs: Any) -> Any:
    return mse(targets, outputs)


def _refusal(model: Any) -> str:
    with pytest.raises(bridge.ConversionError) as refused:
        bridge.from_keras(model)
    return str(refused.value)


@pytest.mark.parametrize("kit", KITS)
def test_own_activations_are_refused_wherever_a_layer_holds_them(kit: Any) -> None:
    L = kit.layers
    held = {
        "dense": L.Dense(2, activation=leaky_relu),
        "lstm": L.LSTM(2, recurrent_activation=swish, return_sequences=True),
        "conv": L.Conv1D(2, 1, activation=swish),
        "layer": L.Activation(leaky_relu),
        "wrapped": L.TimeDistributed(L.Dense(2, activation=swish)),
        "cell": L.RNN(L.GRUCell(2, activation=leaky_relu), return_sequences=True),
        "stacked": L.RNN(
            L.StackedRNNCells([L.SimpleRNNCell(2), L.SimpleRNNCell(2, activation=swish)]),
            return_sequences=True,
        ),
        "both": L.Bidirectional(L.GRU(2, activation=leaky_relu, return_sequences=True)),
        "inner": kit.Sequential([L.Dense(2, activation=leaky_relu, name="deep")]),
    }
    inputs = outputs = kit.Input((4, 3))
    for layer in held.values():
        outputs = layer(outputs)
    text = _refusal(kit.Model(inputs, outputs))
    if (
        kit is keras
        # which makes both halves anew, from the name, with its own function: what the model
        # computes is Keras'
    ):
        assert held.pop("both").forward_layer.activation is keras.activations.leaky_relu
    for kind, layer in held.items():
        assert f"\n  - {layer.name}{'/deep' if kind == 'inner' else ''} (" in text
    assert text.count(f"of module {__name__} is none of keras.activations") == len(held)
    assert "bridge.register_converter('Custom>swish') puts a JAX function in place of it" in text


def test_the_way_out_of_a_refused_activation(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, activation=swish), keras.layers.Dense(2)]
    )
    model.save(tmp_path / "own.keras")  # Keras' own swish is written as silu
    for source in (model, tmp_path / "own.keras"):
        assert "Custom>swish" in _refusal(source)
    bridge.register_converter(swish)(lambda config: bridge.layers.FunctionLayer(_jax_swish))
    try:
        for source in (model, tmp_path / "own.keras"):
            converted = bridge.from_keras(source)
            np.testing.assert_allclose(
                converted(converted.params, X), model(X), rtol=1e-5, atol=1e-6
            )
        assert bridge.from_keras(model).module == bridge.from_keras(tmp_path / "own.keras").module
    finally:
        bridge.unregister_converter(swish)
    with pytest.raises(bridge.ConversionError, match=f"'swish' of module {__name__}"):
        bridge.pack(model, tmp_path / "own.lmjax")


def _jax_swish(x: Any) -> Any:
    return x / (1 + jnp.exp(-1.7 * x))


def test_functions_of_tensorflow_and_keras_compute_what_they_do() -> None:
    functions = {place.replace(".", "_"): _at(place) for place in _TENSORFLOW} | {
        "keras_sin": keras.ops.sin,
        "keras_tanh": keras.ops.tanh,
    }
    functions |= {"keras2_hard_sigmoid": tf_keras.activations.hard_sigmoid}
    inputs = keras.Input((3,))
    shifted = keras.layers.Rescaling(1.0, 1.0)(inputs)
    outputs = [
        keras.layers.Activation(function, name=name)(shifted if "acosh" in name else inputs)
        for name, function in functions.items()
    ]
    model = keras.Model(inputs, outputs)
    converted = bridge.from_keras(model)
    for name, found, expected in zip(
        functions, converted(converted.params, X), model(X), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6, err_msg=name)
    old = tf_keras.Sequential(
        [
            tf_keras.Input((3,)),
            tf_keras.layers.Dense(2, tf.sin),
            tf_keras.layers.Dense(2, tf.nn.leaky_relu),
        ]
    )
    converted = bridge.from_keras(old)
    np.testing.assert_allclose(converted(converted.params, X), old(X), rtol=1e-5, atol=1e-6)


def _at(place: str) -> Any:
    found = tf
    for name in place.split("."):
        found = getattr(found, name)
    return found


def test_what_keras_cannot_describe_is_refused_by_the_layer_that_has_it() -> None:
    inputs = keras.Input((3,))
    partial = functools.partial(keras.activations.leaky_relu, negative_slope=0.1)
    model = keras.Model(inputs, keras.layers.Dense(2, partial, name="mine")(inputs), name="inner")
    for outer in (
        model,
        keras.Model(inputs, model(inputs)),
        keras.Sequential([inputs, model]),
        keras.Sequential(model.layers),
    ):
        with pytest.raises(
            bridge.ConversionError,
            match=r"mine \(Dense\): its configuration .* functools.partial\(.*\(def\)",
        ):
            bridge.from_keras(outer)


@pytest.mark.parametrize("kit", KITS)
def test_own_losses_are_refused_by_name(kit: Any, tmp_path: Path) -> None:
    class MeanSquaredError(kit.losses.Loss):
        def call(self, targets: Any, outputs: Any) -> Any:
            return tf.reduce_mean(tf.abs(targets - outputs), axis=-1)

    model = kit.Sequential([kit.Input((3,)), kit.layers.Dense(1)])
    for loss, name in (
        (mse, "mse"),
        (mean_squared_error, "mean_squared_error"),
        (MeanSquaredError(), "MeanSquaredError"),
    ):
        model.compile(loss=loss)
        for of_model in (lambda: loss_of(model), lambda: from_serialized(serialized_loss(model))):
            with pytest.raises(
                ValueError, match=rf"'{name}' of module {__name__} is not Keras' own"
            ):
                of_model()
    with pytest.raises(ValueError, match="not Keras' own"):
        bridge.fit(model, X, X[:, :1], verbose=0)
    bridge.fit(model, X, X[:, :1], loss="mse", epochs=1, verbose=0)
    for own in (
        "mse",
        kit.losses.MeanSquaredError(),
        kit.losses.mean_squared_error,
        kit.losses.MeanSquaredError,
    ):
        model.compile(loss=own)
        assert loss_of(model) == as_loss("mse") == from_serialized(serialized_loss(model))
    with kit.saving.custom_object_scope({"mean_squared_error": mse}):
        model.compile(loss="mean_squared_error")
        if kit is keras:  # which looks for its own first
            assert loss_of(model) == as_loss("mse")
        else:
            with pytest.raises(ValueError, match="'mse' of module"):
                loss_of(model)


def test_own_losses_in_files() -> None:
    mine = {
        "module": "builtins",
        "class_name": "function",
        "config": "mse",
        "registered_name": "function",
    }
    theirs = mine | {"config": "mean_squared_error"}
    loss = {
        "module": "my_script",
        "class_name": "MeanSquaredError",
        "config": {"name": None},
        "registered_name": "MeanSquaredError",
    }
    for serialized in (mine, loss, theirs | {"config": "Custom>mean_squared_error"}):
        with pytest.raises(ValueError, match="is not Keras' own"):
            from_serialized(serialized)
    assert (
        from_serialized(theirs)
        == from_serialized(loss | {"module": "keras.losses", "registered_name": None})
        == as_loss("mse")
    )


@pytest.mark.parametrize("kit", KITS)
def test_own_regularizers_and_constraints(kit: Any) -> None:
    class L2(kit.regularizers.Regularizer):
        def __call__(self, weights: Any) -> Any:
            return tf.reduce_sum(weights)

        def get_config(self) -> dict[str, float]:
            return {"l2": 0.1}

    class NonNeg(kit.constraints.Constraint):  # without a configuration
        def __call__(self, weights: Any) -> Any:
            return weights + 1

    L = kit.layers
    first = L.Dense(2, kernel_regularizer=L2(), bias_constraint=NonNeg(), name="first")
    model = kit.Sequential(
        [kit.Input((3,)), first, L.Dense(1, activity_regularizer=L2(), name="second")]
    )
    model.compile(loss="mse")
    with pytest.raises(bridge.ConversionError) as refused:
        bridge.fit(model, X, X[:, :1], verbose=0)
    text = str(refused.value)
    for fault in (
        "first/kernel: regularizer 'L2' of",
        "first/bias: constraint 'NonNeg' of",
        "second: activity regularizer 'L2' of",
    ):
        assert fault in text


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("method", ["compute_loss", "train_step", "test_step"])
def test_own_training_is_refused_by_name(kit: Any, method: str) -> None:
    base = kit.Sequential if method == "test_step" else kit.Model
    own = type("Own", (base,), {method: lambda self, *arguments, **options: 0.0})
    inputs = kit.Input((3,))
    model = (
        own([inputs, kit.layers.Dense(1)])
        if base is kit.Sequential
        else own(inputs, kit.layers.Dense(1)(inputs))
    )
    model.compile(loss="mse")
    with pytest.raises(ValueError, match=f"class Own has a {method} of its own"):
        bridge.fit(model, X, X[:, :1], verbose=0)
    with pytest.raises(ValueError, match=f"'Own.{method}' of module"):
        from_serialized(serialized_loss(model))
    converted = bridge.from_keras(model)
    np.testing.assert_allclose(
        np.ravel(converted(converted.params, X)), np.ravel(model(X)), rtol=1e-5, atol=1e-6
    )
    history = bridge.fit(model, X, X[:, :1], loss="mse", epochs=20, verbose=0)
    assert history.history["loss"][-1] < 1e-12


def test_own_penalties_of_a_model_are_refused_by_name() -> None:
    own = type(
        "Own",
        (keras.Model,),
        {"losses": property(lambda self: [keras.ops.sum(self.layers[1].kernel ** 2)])},
    )
    inputs = keras.Input((3,))
    model = own(inputs, keras.layers.Dense(1)(inputs))
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="class Own has a losses of its own"):
        bridge.fit(model, X, X[:, :1], verbose=0)


@pytest.mark.parametrize("kit", KITS)
def test_a_layer_whose_call_was_replaced_is_refused(kit: Any) -> None:
    layer = kit.layers.Dense(1)
    inputs = kit.Input((3,))
    model = kit.Model(inputs, layer(inputs))
    layer.call = lambda x: 3 * x[:, :1]
    with pytest.raises(bridge.ConversionError, match="has had its call replaced"):
        bridge.from_keras(model)


@pytest.mark.parametrize("method", ["call", "__call__"])
def test_own_calls_are_refused(method: str) -> None:
    own = type("Own", (keras.Model,), {method: lambda self, inputs, **options: 2 * inputs})
    inputs = keras.Input((3,))
    model = own(inputs, keras.layers.Dense(1)(inputs))
    with pytest.raises(bridge.ConversionError, match="Own defines its own call"):
        bridge.from_keras(model)


def test_own_classes_in_old_files(tmp_path: Path) -> None:
    class LayerNormalization(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    keras.Sequential(
        [keras.Input((3,)), LayerNormalization(name="own"), keras.layers.Dense(1)]
    ).save(tmp_path / "own.h5")
    assert "own (LayerNormalization)" in _refusal(tmp_path / "own.h5")


ON_JAX = """
import os
import jax, jax.numpy as jnp, keras, numpy as np, bridge
L, x = keras.layers, np.random.default_rng(0).normal(size=(8, 5, 3)).astype("float32") * 2

def swish(x):
    return x * keras.ops.sigmoid(1.7 * x)

class Scaled:
    def __call__(self, x):
        return jnp.tanh(2 * x)

seeds = keras.random.SeedGenerator(1)

def noisy(x):
    return x + keras.random.normal(x.shape, seed=seeds)

own = (swish, lambda x: x / (1 + x * x), keras.ops.gelu, keras.ops.sin)
for function in (jax.nn.gelu, jax.nn.leaky_relu, jax.nn.relu, jax.nn.silu, jnp.sin, *own):
    model = keras.Sequential([keras.Input((5, 3)), L.Dense(4, activation=function), L.LSTM(3, activation=function, return_sequences=True)])
    converted = bridge.from_keras(model)
    apart = np.abs(np.asarray(converted(converted.params, x)) - model.predict(x, verbose=0)).max()
    assert apart < 1e-5, (function, apart)

def leaky_relu(x):  # Keras makes the backward layer with its own
    return jnp.where(x < 0, 0.01 * x, x)

model = keras.Sequential([keras.Input((5, 3)), L.Bidirectional(L.GRU(2, activation=leaky_relu))])
converted = bridge.from_keras(model)
assert np.abs(np.asarray(converted(converted.params, x)) - model.predict(x, verbose=0)).max() < 1e-5
model = keras.Sequential([keras.Input((5, 3)), L.TimeDistributed(L.Dense(4, activation=swish)), L.Dense(1, activation=jax.nn.gelu)])
model.compile(loss="mse")
start = model.evaluate(x, x[..., :1], verbose=0)
loss = bridge.fit(model, x, x[..., :1], epochs=5, verbose=0).history["loss"][-1]
assert loss < start and abs(loss - model.evaluate(x, x[..., :1], verbose=0)) < 1e-5
for function, reason in ((noisy, "changes variables of Keras"), (lambda x: np.sin(np.asarray(x)), "cannot be run by JAX")):
    model = keras.Sequential([keras.Input((3,)), L.Dense(2)])
    model.layers[-1].activation = function
    try:
        bridge.from_keras(model)
        raise SystemExit(f"{function} was taken")
    except bridge.ConversionError as error:
        assert reason in str(error), error
seeds.next()  # the generator has kept a number, and no tracer
try:
    bridge.pack(keras.Sequential([keras.Input((3,)), L.Dense(2, activation=swish)]), "never.lmjax")
    raise SystemExit("packed")
except bridge.ConversionError as error:
    assert "'swish' of module __main__" in str(error), error
"""


@pytest.mark.slow
def test_functions_run_as_they_are_on_the_jax_backend(tmp_path: Path) -> None:
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(Path(bridge.__file__).parents[1]),
    }
    (tmp_path / "script.py").write_text(ON_JAX)  # Keras reads the source of lambdas
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
