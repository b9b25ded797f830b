"""Hashes against those of TensorFlow, in 32 and in 64 bits, and layers of categories and images
that fit in no table of cases.
"""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the oracle is TensorFlow")

import tensorflow as tf

import bridge
from bridge._src.layers.nested import convert
from bridge._src.layers.preprocessing.farmhash import buckets, crossed_buckets
from lmjax._src.runtime.precision import scope

_RNG = np.random.default_rng(0)
SHORT = np.concatenate(
    [np.arange(-1200, 1200), _RNG.integers(-(2**31), 2**31, 500), [2**31 - 1, -(2**31)]]
).astype(np.int32)
LONG = np.concatenate(
    [
        SHORT,
        *(_RNG.integers(-(10**digits), 10**digits, 99) for digits in range(9, 19)),
        [2**63 - 1, -(2**63)],
    ]
)


@pytest.mark.parametrize("values", [SHORT, LONG], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize("count", [7, 2**31 - 1])
def test_hashes_are_those_of_tensorflow(values: Any, count: int) -> None:
    texts, others = tf.strings.as_string(values), (values // 3).astype(values.dtype)
    salted = [None, (133, 137), (2**63 - 1, -7)]
    crossed = tf.sparse.cross_hashed(
        [tf.constant(values[:, None]), tf.constant(others[:, None])], num_buckets=count
    )
    with scope("float64" if values.itemsize == 8 else "float32"):
        ours = jax.jit(
            lambda x, y: (
                [buckets(x, count, salt) for salt in salted],
                crossed_buckets([x, y], count),
            )
        )(values, others)
    theirs = [
        tf.strings.to_hash_bucket_strong(texts, count, key=salt)
        if salt
        else tf.strings.to_hash_bucket_fast(texts, count)
        for salt in salted
    ]
    for found, expected in zip(
        [*ours[0], ours[1]], [*theirs, tf.sparse.to_dense(crossed)[:, 0]], strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_equalization_changes_images_in_training_only() -> None:
    images = _RNG.uniform(0, 255, (2, 4, 5, 3)).astype("float32")
    for layer in (
        keras.layers.Equalization(),
        keras.layers.Equalization(value_range=(0.0, 1.0), bins=16),
    ):
        np.testing.assert_array_equal(layer(images, training=False), images)
        np.testing.assert_array_equal(
            convert(keras.saving.serialize_keras_object(layer))(images), images
        )


def test_an_adapted_vocabulary_comes_with_a_live_model_and_its_bundle(tmp_path: Any) -> None:
    lookup = keras.layers.IntegerLookup(mask_token=0, name="lookup")
    lookup.adapt(np.array([[5, 5, 7, 9, 0]]))
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), lookup, keras.layers.Embedding(5, 2)]
    )
    x = np.array([[5, 0, 9], [7, 8, 5]])
    for source in (model, bridge.pack(model, tmp_path / "model.lmjax")):
        converted = bridge.from_keras(source)
        np.testing.assert_allclose(
            converted(converted.params, x), np.asarray(model(x)), rtol=0, atol=1e-7
        )
    model.save(tmp_path / "model.keras")
    with pytest.raises(
        bridge.ConversionError,
        match=r"lookup \(IntegerLookup\): its vocabulary was adapted to data",
    ):
        bridge.from_keras(tmp_path / "model.keras")


def test_integers_that_do_not_fit_are_refused() -> None:
    model = keras.Sequential([keras.Input((2,), dtype="int64"), keras.layers.Hashing(5)])
    x = np.array([[1, 10**12]])
    with pytest.raises(ValueError, match=r"10{12}.*does not fit in int32.*dtype='float64'"):
        bridge.from_keras(model)({}, x)
    double = bridge.from_keras(model, "float64")
    np.testing.assert_array_equal(double({}, x), np.asarray(model(x)))
