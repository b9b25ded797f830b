"""Functions of TensorFlow in Functional models of Keras 2 (TFOpLambda, SlicingOpLambda): live, in
.keras and in .h5 files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the oracle is Keras on TensorFlow")
pytest.importorskip("tf_keras", reason="the models are of Keras 2")

import tensorflow as tf
import tf_keras

import bridge
from bridge._src.operations.tensorflow.table import TENSORFLOW
from lmjax._src.runtime.precision import scope
from tests.bridge.layers.cases import SINGLE
from tests.bridge.layers.test_conformance import FAST_COMPILATION, ROUNDING, relative_difference

_MATRIX = np.arange(8, dtype="float32").reshape(4, 2)
_ROW = np.array([0.5, -1.0, 2.0, 0.25], "float32")
X = np.random.default_rng(0).normal(size=(3, 4))

#: Of x, (3, 4) and Gaussian; what needs other numbers makes them of it.
EVERYDAY: list[Callable[[Any], Any]] = [
    lambda x: x[:, :2],
    lambda x: x[:, -1],
    lambda x: x[..., 0:1] * x[..., 1:2],
    lambda x: x[:, tf.newaxis, ::-1],
    lambda x: x * _ROW + _ROW,
    lambda x: _ROW - x,
    lambda x: 2.0 / (x * x + 1),
    lambda x: 1 - x**2,
    lambda x: x @ _MATRIX,
    lambda x: tf.matmul(x, x, transpose_b=True),
    lambda x: tf.concat([x, 2 * x], axis=1),
    lambda x: tf.concat([x, tf.zeros_like(x)], 0),
    lambda x: tf.stack([x, -x], axis=1),
    lambda x: tf.split(x, 2, axis=1)[0],
    lambda x: tf.split(x, [1, 3], 1)[1],
    lambda x: tf.unstack(x, axis=1)[2],
    lambda x: tf.reshape(x, (-1, 2, 2)),
    lambda x: tf.reshape(x, (tf.shape(x)[0], 4 // 2, 2)),
    lambda x: tf.transpose(tf.reshape(x, (-1, 2, 2)), [0, 2, 1]),
    lambda x: tf.squeeze(tf.expand_dims(x, 1), 1),
    lambda x: tf.tile(x, [1, 2]),
    lambda x: tf.repeat(x, 2, axis=1),
    lambda x: tf.gather(x, [0, 2], axis=1),
    lambda x: tf.pad(x, [[0, 0], [1, 0]]),
    lambda x: tf.reverse(x, [1]),
    lambda x: tf.roll(x, 1, axis=1),
    lambda x: tf.slice(x, [0, 1], [-1, 2]),
    lambda x: tf.where(x > 0, x, 0.1 * x),
    lambda x: tf.cast(x > 0, tf.float32),
    lambda x: tf.cast(3 * x, tf.int32),
    lambda x: tf.clip_by_value(x, -0.5, 0.5),
    lambda x: tf.maximum(x, 0.0) + tf.minimum(x, 1.0),
    lambda x: tf.reduce_sum(x, axis=1, keepdims=True) + tf.reduce_mean(x, 1, keepdims=True),
    lambda x: tf.reduce_max(x, axis=-1) - tf.reduce_min(x, axis=-1) + tf.reduce_prod(x, axis=-1),
    lambda x: (
        tf.reduce_logsumexp(x, axis=1)
        + tf.math.reduce_std(x, axis=1)
        + tf.math.reduce_variance(x, axis=1)
    ),
    lambda x: tf.norm(x, axis=1) + tf.norm(x, axis=1, keepdims=True)[:, 0],
    lambda x: tf.nn.l2_normalize(x, axis=1),
    lambda x: tf.cumsum(x, axis=1),
    lambda x: tf.one_hot(tf.argmax(x, axis=1), 4),
    lambda x: (
        tf.exp(x)
        + tf.abs(x)
        + tf.square(x)
        + tf.sign(x)
        + tf.floor(x)
        + tf.math.ceil(x)
        + tf.round(x)
        + tf.identity(x)
    ),
    lambda x: (
        tf.math.log1p(tf.abs(x))
        + tf.sqrt(tf.abs(x))
        + tf.math.rsqrt(tf.abs(x))
        + tf.math.log(tf.abs(x))
        + tf.math.expm1(x)
    ),
    lambda x: (
        tf.sin(x)
        + tf.cos(x)
        + tf.tanh(x)
        + tf.sinh(x)
        + tf.cosh(x)
        + tf.atan(x)
        + tf.asinh(x)
        + tf.math.erf(x)
    ),
    lambda x: (
        tf.sigmoid(x)
        + tf.nn.relu(x)
        + tf.nn.relu6(x)
        + tf.nn.elu(x)
        + tf.nn.selu(x)
        + tf.nn.softplus(x)
        + tf.nn.softsign(x)
    ),
    lambda x: (
        tf.nn.softmax(x)
        + tf.nn.log_softmax(x)
        + tf.nn.gelu(x)
        + tf.nn.leaky_relu(x)
        + tf.nn.silu(x)
        + tf.math.log_sigmoid(x)
    ),
    lambda x: (
        tf.math.divide_no_nan(x, tf.nn.relu(x))
        + tf.math.squared_difference(x, 1.0)
        + tf.math.atan2(x, 2.0)
        + tf.add_n([x, x])
    ),
    lambda x: tf.math.floordiv(x, 0.7) + tf.math.floormod(x, 0.7),
    lambda x: (
        tf_keras.backend.mean(x, axis=1, keepdims=True)
        + tf_keras.backend.sum(x, axis=1, keepdims=True)
    ),
]


#: Keras 2 cannot save an ellipsis.
ELLIPSIS = 2


def _model(dtype: str) -> Any:
    inputs = tf_keras.Input((4,), dtype=dtype)
    return tf_keras.Model(inputs, [function(inputs) for function in EVERYDAY])


def _check(ours: Any, theirs: Any, tolerance: float) -> None:
    wrong = {}
    for number, (value, reference) in enumerate(zip(ours, theirs, strict=True)):
        try:
            assert relative_difference(value, reference) <= tolerance
        except AssertionError as error:
            wrong[number] = str(error)[:200]
    assert not wrong


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_functions_of_tensorflow(tmp_path: Any) -> None:
    model = _model("float32")
    single = bridge.from_keras(model)
    x = X.astype("float32")
    expected = [np.asarray(value) for value in model(x)]
    _check(single(single.params, x), expected, SINGLE)
    described = [number for number in range(len(EVERYDAY)) if number != ELLIPSIS]
    savable = tf_keras.Model(model.input, [model.outputs[number] for number in described])
    for name in ("model.keras", "model.h5"):
        savable.save(tmp_path / name)
        saved = bridge.from_keras(tmp_path / name)
        _check(saved(saved.params, x), [expected[number] for number in described], SINGLE)

    double = bridge.from_keras(model, "float64")

    def everything(x: Any) -> Any:
        def smooth(x: Any) -> Any:
            return [
                value
                for value in double.apply(double.params, x)
                if np.issubdtype(value.dtype, np.floating)
            ]

        alone = jax.vmap(lambda x: double.apply(double.params, x))(jax.numpy.stack([x, -x]))
        return double.apply(double.params, x), alone, jax.jacfwd(smooth)(x), jax.jacrev(smooth)(x)

    with scope("float64"):
        outputs, both, forward, reverse = (
            jax.jit(everything).trace(X).lower().compile(FAST_COMPILATION)(X)
        )
    _check(outputs, expected, SINGLE)
    _check([value[0] for value in both], outputs, ROUNDING)
    _check(forward, reverse, ROUNDING)


def test_an_unknown_function_is_refused_by_name() -> None:
    inputs = tf_keras.Input((4,))
    model = tf_keras.Model(inputs, tf.math.lgamma(inputs))
    with pytest.raises(
        bridge.ConversionError,
        match=r"TFOpLambda\): there is no function of JAX for tf.math.lgamma; write it as a layer",
    ):
        bridge.from_keras(model)


def test_names_are_those_of_tensorflow() -> None:
    for name in TENSORFLOW:
        if not name.startswith(("__operators__", "compat.v1.")):
            found: Any = tf
            for part in name.split("."):
                found = getattr(found, part, None)
            assert found is not None, name
