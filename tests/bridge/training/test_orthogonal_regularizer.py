"""``OrthogonalRegularizer`` in fits: losses are those of ``model.evaluate``, and they fall."""

import keras
import numpy as np
import pytest
import tf_keras

import bridge
from bridge._src.command.main import main
from lmjax._src.training.penalties import penalty_of

N = 48
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 3)).astype("float32")
Y = (np.sin(X.sum(axis=1, keepdims=True)) + RANDOM.normal(size=(N, 1))).astype("float32")
WORDS = RANDOM.integers(0, 6, size=(N, 4))
L = keras.layers
Orthogonal = keras.regularizers.OrthogonalRegularizer


def compiled(*layers, shape=(3,), dtype="float32"):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input(shape, dtype=dtype), *layers])
    model.compile(loss="mse")
    return model


def dense(**options):
    """A hidden layer whose rows are compared, and an outer one of whose columns there are two."""
    options = {"kernel_regularizer": Orthogonal(0.02), **options}
    outer = Orthogonal(0.05, "columns")
    return compiled(L.Dense(4, "tanh", **options), L.Dense(2, kernel_regularizer=outer), L.Dense(1))


def words():
    table = L.Embedding(6, 3, embeddings_regularizer=Orthogonal(0.03))
    cell = L.LSTM(3, kernel_regularizer="l2", recurrent_regularizer=Orthogonal(0.1, "columns"))
    return compiled(table, cell, L.Dense(1), shape=(4,), dtype="int32")


MODELS = {"dense": (dense, X), "embedding and recurrent kernel": (words, WORDS)}


def evaluate(model, x=X, y=Y):
    return model.evaluate(x, y, batch_size=len(x), verbose=0)


def check(model, x=X, y=Y, **options):
    start = evaluate(model, x, y)
    history = bridge.fit(
        *(model, x, y), validation_data=(x[:9], y[:9]), restore="last", verbose=0, **options
    )
    assert history.start["loss"] == pytest.approx(start, rel=1e-6)
    assert history.history["loss"][-1] == pytest.approx(evaluate(model, x, y), rel=1e-6)
    held_out = evaluate(model, x[:9], y[:9])
    assert history.history["val_loss"][-1] == pytest.approx(held_out, rel=1e-6)
    return history


@pytest.mark.parametrize("mode", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (5, 3)])
def test_the_value_is_that_of_keras(shape, mode):
    """Also where a row and a column are zero."""
    kernel = RANDOM.normal(size=shape).astype("float32")
    kernels = [
        kernel,
        kernel * (np.arange(shape[0]) != 0)[:, None],
        kernel * [0, *[1] * (shape[1] - 1)],
    ]
    for weight in kernels:
        weight = weight.astype("float32")
        expected = float(Orthogonal(0.3, mode)(keras.ops.convert_to_tensor(weight)))
        penalty = penalty_of(None, None, weight, weight.dtype, **{f"orthogonal_{mode}": 0.3})
        assert float(penalty.value(weight.ravel())) == pytest.approx(expected, rel=1e-6)


def test_losses_are_those_of_evaluate_and_fall():
    history = check(dense(), epochs=12)
    losses = [history.start["loss"], *history.history["loss"]]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [None, 16])
def test_models_precisions_and_batches(name, dtype, batch_size):
    make, x = MODELS[name]
    history = check(make(), x, epochs=10, dtype=dtype, batch_size=batch_size)
    assert min(history.history["loss"]) < history.start["loss"]


def test_kernels_of_convolutions_and_single_rows_are_refused():
    """Of which Keras has no value, or NaN."""
    image = compiled(
        L.Conv1D(2, 2, kernel_regularizer=Orthogonal(), bias_regularizer="l2"),
        L.GlobalAveragePooling1D(),
        L.Dense(1, kernel_regularizer=Orthogonal(mode="columns"), name="out"),
        shape=(4, 3),
    )
    x = RANDOM.normal(size=(N, 4, 3)).astype("float32")
    with pytest.raises(ValueError, match="must have rank 2"):
        evaluate(image, x)
    with pytest.raises(bridge.ConversionError) as raised:
        bridge.fit(image, x, Y, verbose=0)
    assert "shape (2, 3, 2), which Keras itself takes for matrices (rank 2) only" in str(
        raised.value
    )
    assert "out/kernel: " in str(raised.value)
    assert "mode='columns' of a weight of shape (2, 1), which has no pair" in str(raised.value)


def test_standardize_is_refused_where_cosines_would_be_others():
    with pytest.raises(ValueError, match=r"standardize: .*kernel has .* mode='columns'"):
        bridge.fit(
            dense(kernel_regularizer=Orthogonal(0.02, "columns")),
            *(X * [1.0, 2.0, 3.0], Y),
            standardize="inputs",
            verbose=0,
        )


@pytest.mark.slow
def test_standardize_keeps_cosines_of_rows():
    model, x = dense(), (10 * X * [1.0, 2.0, 3.0]).astype("float32")
    history = bridge.fit(model, x, Y, standardize="inputs", epochs=10, verbose=0)
    assert history.history["loss"][-1] == pytest.approx(evaluate(model, x), rel=1e-4)
    assert history.history["loss"][-1] < 0.9 * history.start["loss"]


@pytest.mark.slow
def test_trainers_and_streams_count_it():
    model = dense()
    start, batches = model.get_weights(), [(X[:25], Y[:25]), (X[25:], Y[25:])]
    history = bridge.fit(model, batches, epochs=3, verbose=0)
    assert history.history["loss"][-1] == pytest.approx(evaluate(model), rel=1e-6)
    model.set_weights(start)
    trainer = bridge.Trainer(model)
    assert trainer.step(X, Y) == pytest.approx(evaluate(model), rel=1e-6)
    assert trainer.step(X, Y) < evaluate(model)


@pytest.mark.slow
def test_a_keras_2_model_has_it_too():
    layers = tf_keras.layers
    regularizer = tf_keras.regularizers.OrthogonalRegularizer(0.2, "columns")
    model = tf_keras.Sequential(
        [
            tf_keras.Input((3,)),
            layers.Dense(4, "tanh", kernel_regularizer=regularizer),
            layers.Dense(1),
        ]
    )
    model.compile(loss="mse")
    check(model, epochs=5)


@pytest.mark.slow
def test_files_through_the_command(tmp_path, capsys):
    """The penalty of the file counts, whose values ``lmjax evaluate`` and Keras agree on."""
    model, file = dense(), tmp_path / "model.keras"
    model.save(file)
    data, fitted = tmp_path / "data.npz", tmp_path / "fitted.keras"
    np.savez(data, x=X, y=Y)
    assert main(["fit", str(file), str(data), "-o", str(fitted), "--epochs", "12", "-q"]) == 0
    after = keras.models.load_model(fitted, compile=False)
    after.compile(loss="mse")
    assert evaluate(after) < 0.7 * evaluate(model)
    capsys.readouterr()
    assert main(["evaluate", str(fitted), str(data)]) == 0
    name, value = capsys.readouterr().out.splitlines()[0].split()
    assert name == "loss"
    assert float(value) == pytest.approx(evaluate(after), rel=1e-6)
    squares = np.mean((after.predict(X, verbose=0) - Y) ** 2)
    assert float(value) > squares + 1e-5
    history = bridge.fit(model, X, Y, epochs=12, verbose=0)
    assert history.history["loss"][-1] == pytest.approx(float(value), rel=1e-3)
