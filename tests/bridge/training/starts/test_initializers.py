"""Draws from initializers are distributed as Keras' own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import bridge
from bridge._src.description.weights import leaves
from bridge._src.training.starts.initializers import drawn, is_random
from bridge._src.training.starts.starts import starts_of

_NAMES = (
    *("GlorotUniform", "GlorotNormal", "LecunUniform", "LecunNormal", "HeUniform", "HeNormal"),
    *("RandomNormal", "RandomUniform", "TruncatedNormal", "Orthogonal", "VarianceScaling"),
)
_OPTIONS = {
    "RandomNormal": {"mean": 1.0, "stddev": 0.2},
    "RandomUniform": {"minval": -1.0, "maxval": 3.0},
    "TruncatedNormal": {"mean": -1.0, "stddev": 0.5},
    "Orthogonal": {"gain": 2.0},
    "VarianceScaling": {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"},
}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (name, shape)
        for name in _NAMES
        for shape in [(60, 200), (3, 3, 20, 40), (4000,)]
        if name != "Orthogonal" or len(shape) > 1  # Keras refuses vectors
    ],
    ids=str,
)
def test_draws_have_the_moments_and_the_range_of_keras_own(
    name: str, shape: tuple[int, ...]
) -> None:
    own = getattr(keras.initializers, name)(**_OPTIONS.get(name, {}), seed=1)
    theirs = np.asarray(keras.ops.convert_to_numpy(own(shape)), float)
    ours = drawn(keras.initializers.serialize(own), shape, np.random.default_rng(0))
    assert ours is not None
    assert ours.shape == shape
    deviation = float(theirs.std())
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.06 * deviation)
    assert ours.std() == pytest.approx(deviation, rel=0.05)
    if "Uniform" in name or name in ("TruncatedNormal", "HeNormal"):
        assert np.abs(ours - ours.mean()).max() == pytest.approx(
            np.abs(theirs - theirs.mean()).max(), rel=0.1
        )
    if name == "Orthogonal":
        matrix = ours.reshape(-1, shape[-1])
        gram = matrix.T @ matrix if len(matrix) >= shape[-1] else matrix @ matrix.T
        np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)


def test_names_and_constants() -> None:
    generator = np.random.default_rng(0)
    assert is_random("glorot_uniform")
    for initializer in ("zeros", None, "Custom>mine"):
        assert not is_random(initializer)
    constant = keras.initializers.serialize(keras.initializers.Constant(3.0))
    np.testing.assert_array_equal(drawn(constant, (2, 2), generator), np.full((2, 2), 3.0))
    assert drawn("Custom>mine", (2, 2), generator) is None


def test_starts_are_the_own_weights_and_new_draws() -> None:
    model = keras.Sequential(
        [keras.Input((5, 3)), keras.layers.LSTM(4), keras.layers.Dense(2, bias_initializer="ones")]
    )
    converted = bridge.from_keras(model)
    starts = starts_of(converted, 3)
    assert "initializers" in starts.origin
    first, *others = [dict(leaves(params)) for params in starts.params]
    assert first == dict(leaves(converted.params))
    for path, value in first.items():
        for other in others:
            drawn_anew = path[-1] != "bias"
            assert np.array_equal(value, other[path]) != drawn_anew
            assert other[path].dtype == value.dtype
    again = [dict(leaves(params)) for params in starts_of(converted, 3).params]
    assert all(np.array_equal(again[2][path], others[1][path]) for path in first)


def test_starts_are_perturbed_where_nothing_is_drawn() -> None:
    dense = keras.layers.Dense(2, kernel_initializer="ones")
    converted = bridge.from_keras(keras.Sequential([keras.Input((3,)), dense]))
    starts = starts_of(converted, 2)
    assert "perturbed" in starts.origin
    kernel, moved = (
        next(value for path, value in leaves(params) if path[-1] == "kernel")
        for params in starts.params
    )
    assert 0 < np.abs(moved - kernel).max() < 0.6
