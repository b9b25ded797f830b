"""The converted model as a function: inputs, transformations, precision, compilation, printing."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bridge
from bridge._src.module.flax_model import _compiled


@pytest.fixture(scope="module")
def mlp(build):
    return bridge.from_keras(build("mlp"))


def test_rank_is_mended_as_keras_does(keras):
    column = bridge.from_keras(keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)]))
    x = np.linspace(-1, 1, 5)
    np.testing.assert_array_equal(column(column.params, x), column(column.params, x[:, None]))
    wide = bridge.from_keras(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    x = np.ones((4, 3, 1))
    np.testing.assert_array_equal(wide(wide.params, x), wide(wide.params, x[..., 0]))


@pytest.mark.parametrize(
    ("shape", "hint"), [((4, 5), ""), ((3,), "batch axis"), ((4, 3, 2), ""), ((), "")]
)
def test_wrong_shapes_name_both(mlp, shape, hint):
    with pytest.raises(
        ValueError, match=r"has shape .* but the model takes \(batch, 3\)"
    ) as caught:
        mlp(mlp.params, np.ones(shape))
    assert str(shape) in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "x", [np.array([["a", "b", "c"]]), np.array([[None, 1, 2]]), [[1.0, 2.0], [3.0]]]
)
def test_what_is_no_number_is_refused(mlp, x):
    with pytest.raises(ValueError, match=r"input 'input_layer.*'"):
        mlp(mlp.params, x)


def test_lists_integers_and_other_dtypes_are_cast(mlp):
    expected = mlp(mlp.params, np.ones((2, 3), np.float32))
    for x in (
        [[1, 1, 1], [1, 1, 1]],
        np.ones((2, 3), np.int64),
        np.ones((2, 3), np.float16),
        np.ones((2, 3), bool),
        jnp.ones((2, 3)),
    ):
        np.testing.assert_array_equal(mlp(mlp.params, x), expected)


def test_several_inputs(build, feed):
    model = build("functional")
    converted = bridge.from_keras(model)
    first, second = feed(model)
    expected = converted(converted.params, [first, second])
    for found, wanted in zip(
        converted(converted.params, {"second": second, "first": first}), expected, strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    with pytest.raises(ValueError, match="2 inputs"):
        converted(converted.params, first)
    with pytest.raises(ValueError, match="no entry for input 'second'"):
        converted(converted.params, {"first": first})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "mixed", "images", "tokens"])
def test_transformations(name, build, feed):
    model = build(name)
    converted = bridge.from_keras(model)
    x = feed(model, 3)
    np.testing.assert_allclose(
        jax.jit(converted.apply)(converted.params, x),
        converted(converted.params, x),
        rtol=1e-5,
        atol=1e-6,
    )
    single = jax.vmap(lambda row: converted(converted.params, row[None])[0])(jnp.asarray(x))
    np.testing.assert_allclose(single, converted(converted.params, x), rtol=1e-5, atol=1e-6)
    forward, reverse = (
        transform(converted.apply)(converted.params, x) for transform in (jax.jacfwd, jax.jacrev)
    )
    for left, right in zip(jax.tree.leaves(forward), jax.tree.leaves(reverse), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)
    assert jax.tree.structure(forward) == jax.tree.structure(converted.params)


def test_float64_without_touching_the_global_switch(build, keras, feed):
    model = build("mixed")
    x = feed(model).astype(np.float64)
    single, double = bridge.from_keras(model), bridge.from_keras(model, dtype="float64")
    before = jax.config.jax_enable_x64
    found = double(double.params, x)
    assert jax.config.jax_enable_x64 == before
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float64
    assert 0 < np.abs(found - single(single.params, x)).max() < 1e-4
    assert {leaf.dtype for leaf in jax.tree.leaves((double.params, double.state))} == {
        np.dtype("float64")
    }
    np.testing.assert_equal(
        jax.tree.map(lambda leaf: leaf.astype(np.float32), double.params), dict(single.params)
    )


def test_float64_agrees_with_keras(build, keras, feed):
    keras.config.set_dtype_policy("float64")
    try:
        model = build("mixed")
    finally:
        keras.config.set_dtype_policy("float32")
    x = feed(model)
    converted = bridge.from_keras(model)
    assert converted.dtype == np.float64
    expected = np.asarray(model(x))
    np.testing.assert_allclose(
        converted(converted.params, x), expected, rtol=0, atol=1e-11 * np.abs(expected).max()
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constants_inside_a_callers_jit(build, dtype):
    converted = bridge.from_keras(build("mlp"), dtype)
    x = np.ones((2, 3))
    found = jax.jit(lambda: converted(converted.params, x) * 1)()
    np.testing.assert_allclose(found, converted(converted.params, x), rtol=1e-5)


def test_switch_on_and_float32_model(mlp):
    with jax.enable_x64(True):
        found = mlp(mlp.params, np.ones((2, 3)))
        assert found.dtype == np.float32
        traced = jax.jit(mlp.apply)(mlp.params, np.ones((2, 3)))
        assert traced.dtype == np.float32
        double = bridge.from_keras(mlp, dtype="float64")
        assert double(double.params, np.ones((2, 3))).dtype == np.float64


def test_mixed_precision_computes_in_float32(keras):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, dtype="mixed_float16"),
            keras.layers.Dense(1, dtype="bfloat16"),
        ]
    )
    converted = bridge.from_keras(model)
    assert converted.dtype == np.float32
    assert converted(converted.params, np.ones((1, 3))).dtype == np.float32


def test_second_apply_does_not_compile_again(build):
    model = build("mlp")
    converted = bridge.from_keras(model)
    converted(converted.params, np.ones((5, 3)))
    size = len(_compiled)
    converted(jax.tree.map(lambda leaf: leaf + 1, converted.params), np.zeros((5, 3), np.float32))
    again = bridge.from_keras(model)
    again(again.params, np.ones((5, 3)))
    assert len(_compiled) == size


def test_pure_functions_of_equal_models_share_compiled_code(build):
    model = build("mixed")
    traces = []

    @jax.jit
    def total(function, params, x):
        traces.append(1)
        return function(params, x).sum()

    x = np.ones((2, 5), np.float32)
    values = []
    for _ in range(2):
        converted = bridge.from_keras(model)
        values.append(total(converted.pure(), converted.params, x))
        np.testing.assert_allclose(values[-1], converted(converted.params, x).sum(), rtol=1e-5)
    model.layers[1].layers[1].moving_mean.assign([5.0] * 4)
    changed = bridge.from_keras(model)
    values.append(total(changed.pure(), changed.params, x))
    assert len(traces) == 1
    assert values[0] == values[1] != values[2]


def test_params_are_copies(build):
    model = build("mlp")
    converted = bridge.from_keras(model)
    before = np.array(
        converted.params["dense" if "dense" in converted.params else next(iter(converted.params))][
            "kernel"
        ]
    )
    model.weights[0].assign(model.weights[0] + 1)
    np.testing.assert_array_equal(next(iter(converted.params.values()))["kernel"], before)


def test_converting_a_converted_model(mlp):
    assert bridge.from_keras(mlp) is mlp
    assert bridge.from_keras(mlp, dtype="float64").dtype == np.float64


def test_table_in_plain_text(build):
    model = build("mixed")
    model.layers[-1].trainable = False
    text = repr(bridge.from_keras(model))
    for part in (
        "inner",
        "LSTM",
        "cell/recurrent_kernel[4, 16]",
        "(frozen)",
        "moving_mean[4] (frozen)",
        f"{model.count_params():,} numbers",
    ):
        assert part in text
    assert str(bridge.from_keras(model)) == text


def test_the_jacobian_of_a_convolution_has_no_group_for_each_sample(keras):
    """XLA's time for grouped convolutions grows faster than the number of groups; see
    lmjax/_src/layerwise/patches.py.
    """
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, padding="same"),
            layers.Conv2D(2, 2),
            layers.Flatten(),
        ]
    )
    convolutional = bridge.from_keras(model, "float32")
    x = np.random.default_rng(0).normal(size=(5, 1, 6, 6, 2)).astype("float32")

    for transform in (jax.jacrev, jax.jacfwd):

        def jacobian(params, x, transform=transform):
            return jax.vmap(lambda one: transform(lambda p: convolutional.apply(p, one))(params))(x)

        program = str(jax.make_jaxpr(jacobian)(convolutional.params, x))
        assert "conv_general_dilated" in program
        assert set(re.findall(r"(?:feature|batch)_group_count=(\d+)", program)) == {"1"}
