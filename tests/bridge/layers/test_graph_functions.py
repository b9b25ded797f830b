"""How functions of ``keras.ops`` are read: slices, arrays, whole numbers, files, what is refused;
and which take one tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bridge
from bridge._src.layers.registry import refused
from bridge._src.operations.tables import TABLE

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
_MATRIX = np.arange(8, dtype=np.float32).reshape(4, 2)


def _everyday(keras: Any, x: Any) -> list[Any]:
    ops = keras.ops
    return [
        x[:, :2],
        x[:, -1],
        x[..., None, ::-2],
        x * _MATRIX[:, 0] + _MATRIX[:, 1],
        ops.matmul(x, _MATRIX),
        ops.split(ops.reshape(x, (-1, 2, 2)), 2, axis=1)[1],
        ops.where(x > 0, x, 0.1 * x),
        ops.clip(x, _MATRIX[:, 0] - 1, 1.5),
        ops.take(x, np.array([0, 2]), axis=1),
        ops.einsum("bi,ij->bj", x, _MATRIX),
    ]


def _by_numpy(x: np.ndarray) -> list[np.ndarray]:
    return [
        x[:, :2],
        x[:, -1],
        x[..., None, ::-2],
        x * _MATRIX[:, 0] + _MATRIX[:, 1],
        x @ _MATRIX,
        x.reshape(-1, 2, 2)[:, 1:],
        np.where(x > 0, x, np.float32(0.1) * x),
        np.clip(x, _MATRIX[:, 0] - 1, 1.5),
        x[:, [0, 2]],
        x @ _MATRIX,
    ]


def test_everyday_functions_live_and_in_files(keras: Any, tmp_path: Any) -> None:
    inputs = keras.Input((4,))
    live = keras.Model(inputs, _everyday(keras, inputs))
    converted = bridge.from_keras(live)
    for value, expected in zip(converted(converted.params, X), _by_numpy(X), strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-6, atol=1e-6)
    # Keras cannot save the clip with an array.
    described = keras.Model(
        inputs, [tensor for number, tensor in enumerate(_everyday(keras, inputs)) if number != 7]
    )
    for name in ("model.keras", "model.h5"):
        described.save(tmp_path / name)
        saved = bridge.from_keras(tmp_path / name)
        found = [*saved(saved.params, X)]
        for value, expected in zip(
            found, [one for number, one in enumerate(_by_numpy(X)) if number != 7], strict=True
        ):
            np.testing.assert_allclose(value, expected, rtol=2e-6, atol=1e-6)
    bridge.pack(tmp_path / "model.keras", tmp_path / "model.lmjax")
    packed = bridge.from_keras(tmp_path / "model.lmjax")
    for value, expected in zip(packed(packed.params, X), found, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_equal_models_share_compiled_functions(keras: Any) -> None:
    modules = []
    for _ in range(2):
        inputs = keras.Input((4,), name="x")
        modules.append(
            bridge.from_keras(keras.Model(inputs, _everyday(keras, inputs), name="one")).module
        )
    hash(modules[0])  # every constant has a hash
    assert modules[0].nodes[0].options == modules[1].nodes[0].options


_INDEX = st.integers(-2, 1)
_BOUND = st.none() | st.integers(-4, 4)
_SLICE = st.builds(slice, _BOUND, _BOUND, st.sampled_from([None, 1, 2, -1, -2]))


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    key=st.lists(_SLICE | _INDEX | st.none(), min_size=1, max_size=3),
    ellipsis=st.none() | st.integers(0, 3),
)
def test_slices_are_those_of_numpy(keras: Any, key: list[Any], ellipsis: int | None) -> None:
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    full = [slice(None), *key]
    if ellipsis is not None:
        full.insert(min(ellipsis + 1, len(full)), Ellipsis)
    indices = [one for one in full if one is not None and one is not Ellipsis]
    if len(indices) > 3 or 0 in x[tuple(full)].shape:
        return
    inputs = keras.Input((3, 4))
    converted = bridge.from_keras(keras.Model(inputs, inputs[tuple(full)]))
    np.testing.assert_array_equal(converted(converted.params, x), x[tuple(full)])


def test_whole_numbers_stay_exact(keras: Any) -> None:
    large = np.array([[2**24 + 1, -(2**30) - 7]], np.int32)
    inputs = keras.Input((2,), dtype="int32")
    outputs = [
        inputs + 1,
        keras.ops.sum(inputs, axis=1),
        keras.ops.maximum(inputs, np.array([0, 5])),
        inputs[:, ::-1],
        inputs // 2,
    ]
    model = keras.Model(inputs, outputs)
    for dtype in ("float32", "float64"):
        converted = bridge.from_keras(model, dtype)
        found = converted(converted.params, large)
        expected = [
            large + 1,
            large.sum(axis=1),
            np.maximum(large, [0, 5]),
            large[:, ::-1],
            large // 2,
        ]
        for value, reference in zip(found, expected, strict=True):
            assert np.asarray(value).dtype.kind == "i"
            np.testing.assert_array_equal(value, reference)


def test_a_size_that_the_model_computes_is_refused(keras: Any) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.ops.svd(keras.ops.reshape(inputs, (-1, 2, 2)))[1])
    with pytest.raises(
        bridge.ConversionError, match="singular vectors are only determined up to their sign"
    ):
        bridge.from_keras(model)


def test_refusals_of_operations_are_in_the_registry() -> None:
    assert {
        f"keras.src.ops.{name.replace('.', '>')}" for name in ("core.Cond", "linalg.Eigh")
    } <= set(refused())
    assert not {f"keras.src.ops.{name.replace('.', '>')}" for name in TABLE} & set(refused())


def test_images_in_the_format_of_keras_configuration_are_refused(keras: Any) -> None:
    """The function is called with the default, which is in no configuration of a model."""
    inputs = keras.Input((4, 6, 6))
    keras.config.set_image_data_format("channels_first")
    try:
        model = keras.Model(inputs, keras.ops.image.gaussian_blur(inputs))
        with pytest.raises(bridge.ConversionError, match="channels_first"):
            bridge.from_keras(model)
        explicit = bridge.from_keras(
            keras.Model(inputs, keras.ops.image.gaussian_blur(inputs, data_format="channels_last"))
        )
        assert explicit(explicit.params, np.ones((2, 4, 6, 6), "float32")).shape == (2, 4, 6, 6)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_resizing_is_called_with_training_by_keras_itself(keras: Any) -> None:
    inputs = keras.Input((6, 6, 3))
    model = keras.Model(inputs, keras.layers.CenterCrop(2, 2)(keras.layers.Resizing(3, 3)(inputs)))
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    converted = bridge.from_keras(model)
    np.testing.assert_allclose(converted(converted.params, x), np.asarray(model(x)), atol=1e-6)
