"""Models in which one row of a batch depends on the others are refused before a fit, by the layer
that mixes them.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.ops import numpy as numpy_operations

import bridge
from bridge._src.training.independent_rows import check_rows_apart


def _operation(class_name, **options):
    """One of the classes behind ``keras.ops``, which can be named."""
    return getattr(numpy_operations, class_name)(**options)


def _transposed_back(x):
    return ops.transpose(ops.tanh(ops.transpose(x)))


#: Name of the layer at fault (None where rows stay apart), what is computed, shape and dtype of the
#: input.
CASES = {
    "mean of all": (
        "guilty",
        lambda x: layers.Dense(3)(x) * _operation("Mean", name="guilty")(x),
        (4,),
        "float32",
    ),
    "softmax over rows": (
        "guilty",
        lambda x: layers.Softmax(axis=0, name="guilty")(layers.Dense(3)(x)),
        (4,),
        "float32",
    ),
    "order of rows": (
        "guilty",
        lambda x: _operation("Flip", axis=0, name="guilty")(layers.Dense(3)(x)),
        (4,),
        "float32",
    ),
    "indices": (
        "guilty",
        lambda x: layers.Dense(2)(
            _operation("Mean", axis=0, keepdims=True, name="guilty")(layers.Embedding(5, 3)(x))
        ),
        (3,),
        "int32",
    ),
    "scalars": (
        "guilty",
        lambda x: layers.Dense(1)(ops.expand_dims(x - _operation("Max", name="guilty")(x), -1)),
        (),
        "float32",
    ),
    "inner model": (
        "guilty",
        lambda x: keras.Model(
            inner := keras.Input((4,)), ops.softmax(inner, axis=0), name="guilty"
        )(x),
        (4,),
        "float32",
    ),
    "loudest row": (
        "guilty",
        lambda x: layers.MelSpectrogram(
            32, 16, sampling_rate=100, num_mel_bins=2, min_freq=1.0, name="guilty"
        )(x),
        (64,),
        "float32",
    ),
    "there and back": (None, lambda x: layers.Dense(3)(_transposed_back(x)), (4,), "float32"),
    "other axes": (
        None,
        lambda x: layers.Dense(3)(x) / ops.norm(x, axis=-1, keepdims=True) * np.arange(3.0),
        (4,),
        "float32",
    ),
    "open size": (None, lambda x: layers.Dense(3)(ops.mean(x, axis=1)), (None, 4), "float32"),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_that_depend_on_others_are_found(case):
    guilty, computed, shape, dtype = CASES[case]
    inputs = keras.Input(shape, dtype=dtype)
    converted = bridge.from_keras(keras.Model(inputs, computed(inputs)), dtype="float64")
    if guilty is None:
        check_rows_apart(converted)
        return
    with pytest.raises(bridge.ConversionError, match="depends on the other rows") as error:
        check_rows_apart(converted)
    assert [refusal.layer for refusal in error.value.refusals] == [guilty]


def test_fit_and_trainer_refuse_and_change_nothing():
    """Of a mean over the batch a fit by rows says 0.82 where Keras says 1.01."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(3)(inputs) * ops.mean(inputs))
    model.compile(loss="mse")
    before = model.get_weights()
    x, y = np.random.default_rng(0).normal(size=(20, 4)), np.zeros((20, 3))
    with pytest.raises(bridge.ConversionError, match="mean"):
        bridge.fit(model, x, y, epochs=1, verbose=0)
    with pytest.raises(bridge.ConversionError, match="mean"):
        bridge.Trainer(model)
    assert all(
        np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True)
    )


@pytest.mark.slow
def test_a_model_that_turns_the_batch_and_turns_it_back_is_fitted_as_keras_evaluates_it():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(_transposed_back(inputs)))
    model.compile(loss="mse")
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    history = bridge.fit(model, x, np.sin(x[:, :1]), epochs=2, verbose=0)
    assert history.history["loss"][-1] == pytest.approx(
        model.evaluate(x, np.sin(x[:, :1]), verbose=0), rel=1e-5
    )
