"""Names that mean something to Flax, files under another kind's name, and classes that HDF5 names
by themselves.
"""

import shutil

import flax.linen as nn
import h5py
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import bridge
from bridge._src.formats.archive import Archive
from bridge._src.formats.files import open_model
from bridge._src.formats.keras2 import upgrade
from bridge._src.formats.legacy_h5 import LegacyFile
from bridge._src.formats.live import plain_call

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


def model_named(name, inner=True):
    keras.utils.set_random_seed(0)
    within = (
        [keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name=name)], name="within")]
        if inner
        else []
    )
    layers = [keras.layers.Dense(4, "tanh", name=name), *within, keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(loss="mse")
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["params", pytest.param("a.b-c", marks=pytest.mark.slow)])
def test_a_layer_may_have_any_name(name, tmp_path):
    """Among them ``params``, which Flax keeps for itself: live and in files, converted, fitted,
    verified and written back.
    """
    model = model_named(name)
    expected = model.predict(X, verbose=0)
    model.save(tmp_path / "model.keras")
    for source in (model, tmp_path / "model.keras"):
        converted = bridge.from_keras(source)
        assert set(converted.params) == {name, "within", model.layers[-1].name}
        np.testing.assert_allclose(converted(converted.params, X), expected, rtol=1e-5, atol=1e-6)
    assert bridge.verify(model, X).error < 1e-5
    history = bridge.fit(model, X, X[:, :1], epochs=3, verbose=0)
    assert model.evaluate(X, X[:, :1], verbose=0) == pytest.approx(
        history.history["loss"][-1], rel=1e-3
    )
    copy = bridge.save(
        bridge.from_keras(model).params, tmp_path / "model.keras", tmp_path / "copy.keras"
    )
    loaded = keras.models.load_model(copy, compile=False)
    assert all(
        np.array_equal(a, b) for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True)
    )


def test_an_embedding_called_params_still_tells_its_wrong_index():
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(5, 2, name="params"),
            keras.layers.Flatten(),
        ]
    )
    model.compile(loss="mse")
    with pytest.raises(ValueError, match=r"layer 'params' has 5 rows.*index 9 in row 1"):
        bridge.fit(model, np.array([[0, 1, 2], [0, 9, 1]]), np.zeros((2, 6)), verbose=0)


def kind_of(path):
    with open_model(path) as file:
        return {Archive: ".keras", LegacyFile: ".h5"}[type(file)]


def test_files_are_read_and_written_by_their_content(tmp_path):
    """HDF5 that is called .keras, as Keras 2's checkpoints, and an archive that is called .h5."""
    model = model_named("first", inner=False)
    expected = model.predict(X, verbose=0)
    for kind, other in (("h5", "keras"), ("keras", "h5")):
        model.save(tmp_path / f"model.{kind}")
        path, target = tmp_path / f"wrong_{kind}.{other}", tmp_path / f"copy_{kind}.{other}"
        shutil.copy(tmp_path / f"model.{kind}", path)
        assert kind_of(path) == f".{kind}"
        converted = bridge.from_keras(path)
        np.testing.assert_allclose(converted(converted.params, X), expected, rtol=1e-5, atol=1e-6)
        params = {
            name: {key: value + 1 for key, value in held.items()}
            for name, held in converted.params.items()
        }
        for copy in (target, tmp_path / f"right_{kind}.{kind}"):
            bridge.save(params, path, copy)
            assert kind_of(copy) == f".{kind}"
            again = bridge.from_keras(copy)
            np.testing.assert_array_equal(again.params["first"]["bias"], params["first"]["bias"])
        with pytest.raises(bridge.ConversionError, match="must end in"):
            bridge.save(params, path, tmp_path / "copy.hdf5")
    for content in (b"", b"PK", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"something else"):
        for name in ("broken.keras", "broken.h5"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(bridge.ConversionError, match="broken"):
                bridge.from_keras(tmp_path / name)


class Own(keras.layers.Layer):
    """Adds a weight."""

    def build(self, input_shape):
        self.shift = self.add_weight(
            name="shift", shape=(int(input_shape[-1]),), initializer="ones"
        )

    def call(self, inputs):
        return inputs + self.shift

    def compute_output_shape(self, input_shape):
        return input_shape


class FlaxOwn(bridge.layers.KerasLayer):
    def weights(self):
        return (bridge.layers.Weight("shift"),)

    @nn.compact
    def __call__(self, inputs, mask=None):
        return inputs + self.param("shift", nn.initializers.ones, (inputs.shape[-1],), inputs.dtype)


def test_a_converter_registered_by_class_serves_hdf5(tmp_path):
    """Which names a class by itself, without module or package; also within another layer, and
    among Keras' own.
    """
    model = keras.Sequential(
        [
            keras.Input((3, 4)),
            Own(),
            keras.layers.TimeDistributed(Own()),
            keras.layers.SpatialDropout1D(0.2, name="drop"),
        ]
    )
    samples = np.ones((2, 3, 4), "float32")
    for kind in ("keras", "h5"):
        model.save(tmp_path / f"model.{kind}")
    with pytest.raises(bridge.ConversionError, match="no converter"):
        bridge.from_keras(tmp_path / "model.h5")
    bridge.register_converter(Own)(lambda config: FlaxOwn())
    try:
        for source in (model, tmp_path / "model.keras", tmp_path / "model.h5"):
            converted = bridge.from_keras(source)
            np.testing.assert_array_equal(
                converted(converted.params, samples), np.full((2, 3, 4), 3.0)
            )
    finally:
        bridge.unregister_converter(Own)


def test_layers_of_hdf5_that_say_little():
    """As Keras 3 writes SpatialDropout: neither a module nor whether it is trained."""
    layers = (
        {"class_name": "SpatialDropout2D", "config": {"rate": 0.2, "name": "drop"}},
        {"class_name": "Mine", "config": {"name": "mine"}},
    )
    read = upgrade(
        {"class_name": "Sequential", "config": {"name": "model", "layers": layers}}, "3.15.1"
    )
    assert [layer.get("module") for layer in read["config"]["layers"]] == ["keras.layers", None]


class Tensor:
    """What NumPy sees of a torch tensor that has a gradient, lies on a device, and has 16 bits."""

    dtype = "torch.bfloat16"

    def __init__(self, values, steps=("detach", "cpu", "float")):
        self.values, self.steps = values, steps

    def __array__(self, dtype=None, copy=None):
        if self.steps:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")
        return np.array(self.values, dtype)

    def _after(self, step):
        assert self.steps[0] == step
        return Tensor(self.values, self.steps[1:])

    def detach(self):
        return self._after("detach")

    def cpu(self):
        return self._after("cpu")

    def float(self):
        return self._after("float")


@pytest.mark.slow
def test_tensors_of_torch_are_read():
    for outputs in (Tensor([1.0]), [Tensor([1.0])], {"a": Tensor([1.0])}):
        given = plain_call(lambda inputs, result=outputs: result, None)
        values = (
            [given]
            if isinstance(outputs, Tensor)
            else given
            if isinstance(outputs, list)
            else list(given.values())
        )
        np.testing.assert_array_equal(values[0], [1.0])
    model = model_named("first", inner=False)
    expected = bridge.fit(
        model_named("first", inner=False), X, X[:, :1], epochs=1, verbose=0
    ).history["loss"]
    assert (
        bridge.fit(
            model, Tensor(X.tolist()), Tensor(X[:, :1].tolist()), epochs=1, verbose=0
        ).history["loss"]
        == expected
    )


def test_lora_in_double_precision_is_as_keras_has_it():
    """Whose A, B and their product are single in a layer of double precision; a fit is then single
    unless asked otherwise.
    """
    for layer, x in (
        (keras.layers.Dense(4, dtype="float64"), np.random.default_rng(0).normal(size=(6, 5))),
        (
            keras.layers.Embedding(7, 4, dtype="float64"),
            np.random.default_rng(0).integers(0, 7, (6, 5)),
        ),
    ):
        integer = x.dtype.kind == "i"
        model = keras.Sequential(
            [keras.Input((5,), dtype="int32" if integer else "float64"), layer]
        )
        layer.enable_lora(3, lora_alpha=1.0)
        random = np.random.default_rng(1)
        model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])
        converted = bridge.from_keras(model)
        expected = np.asarray(model(x))
        if expected.dtype != np.float64:
            pytest.skip("Keras' backend has no float64 here")
        assert converted.module.rounds_to_single()
        # A sum of three products in float32, which two compilers may round in different orders.
        np.testing.assert_allclose(
            converted(converted.params, x), expected, rtol=0, atol=6 * np.finfo("float32").eps * 5
        )


def test_hdf5_data_of_a_layer_stay_readable(tmp_path):
    model = model_named("params")
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as file:
        assert "params" in file["model_weights"]
    converted = bridge.from_keras(tmp_path / "model.h5")
    np.testing.assert_allclose(
        converted(converted.params, jnp.asarray(X)),
        model.predict(X, verbose=0),
        rtol=1e-5,
        atol=1e-6,
    )
