"""Back into a live model: bit for bit, all or nothing."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import bridge

ODD_BITS = np.array(
    [0x7FC00001, 0xFFC12345, 0x80000000, 0x00000001, 0x7F7FFFFF, 0xFF800000], np.uint32
).view(np.float32)


def _bits(model):
    return [np.asarray(weight).tobytes() for weight in model.weights]


@pytest.mark.parametrize("dtype", [None, "float64"])
@pytest.mark.parametrize("name", ["mlp", "mixed", "images", "tokens", "functional", "repeated"])
def test_round_trip_keeps_every_bit(name, dtype, build):
    model = build(name)
    for weight in model.weights:
        values = np.array(np.asarray(weight)).ravel()
        values[: len(ODD_BITS)] = ODD_BITS[: len(values)]
        weight.assign(values.reshape(weight.shape))
    before = _bits(model)
    converted = bridge.from_keras(model, dtype)
    assert bridge.to_keras(converted, model) is model
    assert _bits(model) == before
    zeros = jax.tree.map(np.zeros_like, converted.params)
    bridge.to_keras(zeros, model)
    assert _bits(model) != before
    bridge.to_keras(converted.params, model)
    for old, entry in zip(before, converted.table, strict=True):
        # A NaN has no payload of its own in another dtype; all other numbers come back with the
        # same bits.
        now = np.asarray(entry.handle)
        expected = np.frombuffer(old, now.dtype).reshape(now.shape)
        np.testing.assert_array_equal(now, expected)
        np.testing.assert_array_equal(
            np.signbit(now)[~np.isnan(now)], np.signbit(expected)[~np.isnan(now)]
        )
        if dtype is None:
            assert now.tobytes() == old


def test_only_trainable_weights_change(build):
    model = build("mixed")
    model.layers[0].trainable = False
    converted = bridge.from_keras(model)
    before = {entry.path: np.array(np.asarray(entry.handle)) for entry in converted.table}
    bridge.to_keras(jax.tree.map(lambda leaf: leaf + 1, converted.params), model)
    for entry in converted.table:
        np.testing.assert_array_equal(
            np.asarray(entry.handle), before[entry.path] + np.float32(entry.trainable)
        )


def test_predictions_follow(build, feed):
    model = build("mixed")
    converted = bridge.from_keras(model, "float64")
    params = jax.tree.map(lambda leaf: leaf * 1.01, converted.params)
    bridge.to_keras(params, model)
    x = feed(model)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), converted(params, x), rtol=1e-4, atol=1e-5
    )


def test_double_precision_is_rounded_once(build):
    model = build("mlp")
    converted = bridge.from_keras(model, "float64")
    value = 1 + 2.0**-24 + 2.0**-40  # to nearest: up; by way of a coarser rounding: down
    bridge.to_keras(jax.tree.map(lambda leaf: np.full_like(leaf, value), converted.params), model)
    assert all((np.asarray(weight) == np.float32(value)).all() for weight in model.weights)


def test_misfits_leave_the_model_alone(build):
    model = build("mlp")
    before = _bits(model)
    params = bridge.from_keras(model).params
    first, second = params
    cut = {
        first: {"kernel": params[first]["kernel"] + 1, "bias": np.ones(3)},
        second: {"kernel": params[second]["kernel"]},
    }
    with pytest.raises(bridge.ConversionError, match=f"{first}/bias: given shape") as caught:
        bridge.to_keras(cut, model)
    assert f"{second}/bias: missing" in str(caught.value)
    assert _bits(model) == before


@pytest.mark.parametrize("params", [None, 3, {}, {"dense": "text"}])
def test_other_things_are_no_params(build, params):
    model = build("mlp")
    with pytest.raises(bridge.ConversionError, match="params do not fit"):
        bridge.to_keras(params, model)


def test_a_file_is_no_live_model():
    with pytest.raises(bridge.ConversionError, match=r"bridge\.save"):
        bridge.to_keras({}, "model.keras")


@pytest.mark.parametrize("error", [RuntimeError("device lost"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", [0, 2, 3])
def test_a_failure_midway_restores_all(build, monkeypatch, error, failing):
    model = build("mlp")
    before = _bits(model)
    params = jax.tree.map(lambda leaf: leaf + 1, bridge.from_keras(model).params)
    target, calls = model.weights[failing], []
    assign = type(target).assign

    def interrupted(variable, value):
        assign(variable, value)
        calls.append(variable)
        # The write, and the first attempt to restore.
        if variable is target and sum(called is target for called in calls) <= 2:
            raise error

    monkeypatch.setattr(type(target), "assign", interrupted)
    with pytest.raises(type(error)):
        bridge.to_keras(params, model)
    assert len(calls) > failing
    assert _bits(model) == before


def test_reduced_precision_variables(keras):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, dtype="float16"),
            keras.layers.Dense(2, dtype="bfloat16"),
        ]
    )
    before = _bits(model)
    converted = bridge.from_keras(model)
    assert _bits(bridge.to_keras(converted, model)) == before
    bridge.to_keras(jax.tree.map(lambda leaf: leaf + 1, converted.params), model)
    expected = (next(iter(converted.params.values()))["kernel"] + 1).astype(np.float16)
    np.testing.assert_array_equal(np.asarray(model.weights[0]), expected)
