"""What cannot be converted exactly is refused, all layers in one error; users may add
converters.
"""

from __future__ import annotations

import flax.linen as nn
import numpy as np
import pytest

import bridge
from bridge.layers import KerasLayer


def test_all_refused_layers_are_named_at_once(keras, tmp_path):
    layers = keras.layers

    class Own(layers.Layer):
        def call(self, x):
            return x

    inner = keras.Sequential(
        [layers.Lambda(lambda x: x, output_shape=(3,), name="code")], name="inner"
    )
    model = keras.Sequential([keras.Input((3,)), Own(name="mine"), layers.Dense(3), inner])
    model.save(tmp_path / "model.keras")
    for source in (model, tmp_path / "model.keras"):
        with pytest.raises(bridge.ConversionError) as caught:
            bridge.from_keras(source)
        assert [(refusal.layer, refusal.class_name) for refusal in caught.value.refusals] == [
            ("mine", "Own"),
            ("inner/code", "Lambda"),
        ]
        assert "2 layers cannot be converted" in str(caught.value)
        assert "Custom>Own" in str(caught.value)


def test_a_users_class_named_like_a_keras_class_is_refused(keras, tmp_path):
    class Dense(keras.layers.Dense):
        def call(self, x):
            return 2 * super().call(x)

    # Keras writes no module for a class of the script that is run.
    for module in (
        __name__,
        "__main__",
    ):
        Dense.__module__ = module
        model = keras.Sequential([keras.Input((3,)), Dense(2)])
        inner = keras.Sequential([keras.Input((4, 3)), keras.layers.TimeDistributed(Dense(2))])
        model.save(tmp_path / "model.keras")
        for source in (model, inner, tmp_path / "model.keras"):
            with pytest.raises(bridge.ConversionError, match="Custom>Dense"):
                bridge.from_keras(source)


def test_a_model_with_its_own_call_is_refused(keras):
    class Doubled(keras.Sequential):
        def call(self, inputs, training=None, mask=None):
            return 2 * super().call(inputs)

    with pytest.raises(bridge.ConversionError, match=r"defines its own call\(\)"):
        bridge.from_keras(Doubled([keras.Input((3,)), keras.layers.Dense(2)]))


def test_a_layer_whose_config_cannot_be_read_is_refused(keras):
    class Own(keras.layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            raise OSError("no config")

    with pytest.raises(
        bridge.ConversionError,
        match=r"mine \(Own\): its configuration cannot be read \(OSError: no config",
    ):
        bridge.from_keras(
            keras.Sequential([keras.Input((3,)), Own(name="mine"), keras.layers.Dense(2)])
        )


def test_unbuilt_model_says_what_to_do(keras):
    with pytest.raises(bridge.ConversionError, match=r"not built.*keras.Input.*model.build"):
        bridge.from_keras(keras.Sequential([keras.layers.Dense(2)], name="fresh"))


def test_empty_model(keras):
    with pytest.raises(bridge.ConversionError):
        bridge.from_keras(keras.Sequential([keras.Input((3,))]))


def test_quantized_layer_is_refused(keras):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")])
    model.layers[0].quantize("int8")
    with pytest.raises(bridge.ConversionError, match=r"d .*quantized"):
        bridge.from_keras(model)


def test_operations_and_calls_that_the_graph_cannot_express(keras):
    inputs = keras.Input((3,))
    model = keras.Model(
        inputs,
        keras.ops.reshape(inputs, (-1, 3, 1))
        * keras.ops.eigh(keras.ops.einsum("bi,bj->bij", inputs, inputs))[1],
    )
    with pytest.raises(
        bridge.ConversionError, match=r"Eigh\): eigenvectors are only determined up to a factor"
    ):
        bridge.from_keras(model)


@pytest.mark.parametrize("given", [3, None, np.ones(3), "model.h5", "missing.keras"])
def test_other_things_are_refused(given):
    with pytest.raises(bridge.ConversionError):
        bridge.from_keras(given)


@pytest.mark.parametrize("dtype", ["float16", "int32", "nonsense", int])
def test_unknown_dtype(build, dtype):
    with pytest.raises(ValueError, match="dtype must be None, 'float32' or 'float64'"):
        bridge.from_keras(build("mlp"), dtype=dtype)


class Scale(KerasLayer):
    """A converter as a user would write it."""

    factor: float

    @nn.compact
    def __call__(self, inputs, mask=None):
        return self.factor * inputs


def test_a_users_converter(keras, tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Times(keras.layers.Layer):
        def __init__(self, factor, **options):
            super().__init__(**options)
            self.factor = factor

        def call(self, x):
            return self.factor * x

        def get_config(self):
            return super().get_config() | {"factor": self.factor}

    model = keras.Sequential([keras.Input((3,)), Times(2.5)])
    model.save(tmp_path / "model.keras")
    converter = bridge.register_converter(Times)(lambda config: Scale(config["factor"]))
    try:
        with pytest.raises(ValueError, match="registered already"):
            bridge.register_converter("tests>Times")(converter)
        for source in (model, tmp_path / "model.keras"):
            converted = bridge.from_keras(source)
            np.testing.assert_array_equal(
                converted(converted.params, np.ones((1, 3))), np.full((1, 3), 2.5, np.float32)
            )
    finally:
        bridge.unregister_converter(Times)
    with pytest.raises(bridge.ConversionError, match="tests>Times"):
        bridge.from_keras(model)


def test_a_converter_that_returns_no_layer_is_named(keras):
    class Own(keras.layers.Layer):
        def call(self, x):
            return x

    @bridge.register_converter(Own)
    def forgetful(config):
        """Does not return anything."""

    try:
        with pytest.raises(
            bridge.ConversionError,
            match=r"its converter forgetful returned NoneType; it has to return",
        ):
            bridge.from_keras(keras.Sequential([keras.Input((3,)), Own()]))
    finally:
        bridge.unregister_converter(Own)


def test_a_converter_that_is_no_function_is_refused_at_once():
    with pytest.raises(TypeError, match="converter: expected a function"):
        bridge.register_converter("tests>Nothing")({"units": 3})
    with pytest.raises(TypeError, match="a class; its from_config is one"):
        bridge.register_converter("tests>Nothing")(bridge.layers.FunctionLayer)
    bridge.register_converter("tests>Nothing")(bridge.layers.FunctionLayer.from_config)
    bridge.unregister_converter("tests>Nothing")


def test_a_layer_without_a_hash_is_refused(keras):
    class Own(keras.layers.Layer):
        def call(self, x):
            return x

    class Loose(bridge.layers.KerasLayer):
        sizes: list

    @bridge.register_converter(Own)
    def loose(config):
        return Loose(sizes=[1, 2])

    try:
        with pytest.raises(
            bridge.ConversionError, match=r"its converter loose returned a Loose without a hash"
        ):
            bridge.from_keras(keras.Sequential([keras.Input((3,)), Own()]))
    finally:
        bridge.unregister_converter(Own)


def test_an_option_that_the_converter_does_not_read_is_refused(keras):
    @keras.saving.register_keras_serializable("tests")
    class Odd(keras.layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            return super().get_config() | {"twist": 3}

    bridge.register_converter(Odd)(lambda config: Scale(1.0))
    try:
        with pytest.raises(bridge.ConversionError, match="twist=3"):
            bridge.from_keras(keras.Sequential([keras.Input((3,)), Odd()]))
    finally:
        bridge.unregister_converter(Odd)


class Product(KerasLayer):
    """A converter of a layer that gets a list of tensors."""

    def __call__(self, inputs, mask=None):
        return inputs[0] * inputs[1]


def test_a_users_converter_of_several_tensors(keras):
    """The masks of a list go to the outputs in order, as in Keras: here the first one goes to the
    one output.
    """

    class Times(keras.layers.Layer):
        supports_masking = True

        def call(self, inputs):
            return inputs[0] * inputs[1]

    x = np.random.default_rng(0).normal(size=(2, 3, 4, 2)).astype("float32")
    x[:, 0, -1], x[:, 1, 0] = 0, 0
    bridge.register_converter(Times)(lambda config: Product())
    try:
        for masked in (False, True):
            tensors = [keras.Input((4, 2)), keras.Input((4, 2))]
            branches = [keras.layers.Masking()(tensor) for tensor in tensors] if masked else tensors
            model = keras.Model(tensors, keras.layers.SimpleRNN(2)(Times()(branches)))
            converted = bridge.from_keras(model)
            expected = np.asarray(model(list(x)))
            np.testing.assert_allclose(
                converted(converted.params, list(x)), expected, rtol=0, atol=5e-6
            )
    finally:
        bridge.unregister_converter(Times)
