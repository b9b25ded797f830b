"""``bridge.fit``: convert, train, write back."""

import signal

import keras
import numpy as np
import pytest

import bridge
import lmjax
from lmjax import Status

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(50, 3)).astype("float32")
TARGETS = {
    "mse": (X[:, :1] ** 2 + X[:, 1:2]).astype("float32"),
    "binary_crossentropy": (X[:, :1] > X[:, 1:2]).astype("float32"),
    "categorical_crossentropy": np.eye(3, dtype="float32")[X.argmax(axis=1)],
    "sparse_categorical_crossentropy": X.argmax(axis=1),
}
Orthogonal = keras.regularizers.OrthogonalRegularizer
OUTPUTS = {"mse": (1, "linear"), "binary_crossentropy": (1, "sigmoid")}


def make(loss="mse", compiled=None, **options):
    keras.utils.set_random_seed(0)
    units, activation = OUTPUTS.get(loss, (3, "softmax"))
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(6, activation="tanh", **options),
            keras.layers.Dense(units, activation=activation),
        ]
    )
    model.compile(loss=loss if compiled is None else compiled)
    return model


def evaluate(model, *data, **options):
    return float(model.evaluate(*data, batch_size=50, verbose=0, **options))


@pytest.mark.parametrize(
    "loss",
    ["mse", *(pytest.param(loss, marks=pytest.mark.slow) for loss in TARGETS if loss != "mse")],
)
def test_the_reported_loss_is_what_evaluate_gives(loss):
    model, y = make(loss, kernel_regularizer=keras.regularizers.L2(1e-3)), TARGETS[loss]
    before = evaluate(model, X, y)
    history = bridge.fit(model, X, y, epochs=8, validation_data=(X[:10], y[:10]), verbose=0)
    assert isinstance(history.status, Status)
    assert history.epoch == list(range(len(history.history["loss"])))
    assert evaluate(model, X, y) < before
    assert history.history["loss"][-1] == pytest.approx(evaluate(model, X, y), rel=1e-4)
    assert history.history["val_loss"][-1] == pytest.approx(
        evaluate(model, X[:10], y[:10]), rel=1e-4
    )
    assert model.predict(X, verbose=0).shape == (50, model.output_shape[-1])


@pytest.mark.slow
def test_sample_and_class_weights():
    model, y = make("sparse_categorical_crossentropy"), TARGETS["sparse_categorical_crossentropy"]
    class_weight = {0: 1.0, 1: 2.0, 2: 0.5}
    weights = np.array([class_weight[c] for c in y])
    by_class = bridge.fit(model, X, y, epochs=3, class_weight=class_weight, verbose=0)
    assert by_class.history["loss"][-1] == pytest.approx(
        evaluate(model, X, y, sample_weight=weights), rel=1e-4
    )
    by_sample = bridge.fit(
        make("sparse_categorical_crossentropy"), X, y, epochs=3, sample_weight=weights, verbose=0
    )
    np.testing.assert_allclose(by_class.history["loss"], by_sample.history["loss"], rtol=1e-9)
    with pytest.raises(ValueError, match="class 2"):
        bridge.fit(make("sparse_categorical_crossentropy"), X, y, class_weight={0: 1.0, 1: 1.0})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (keras.losses.MeanSquaredError(), "mse"),
        (keras.losses.mean_squared_error, "mse"),
        (keras.losses.BinaryCrossentropy(label_smoothing=0.1), "binary_crossentropy"),
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.1), "categorical_crossentropy"),
        (keras.losses.SparseCategoricalCrossentropy(), "sparse_categorical_crossentropy"),
    ],
    ids=["object", "function", "binary", "categorical", "sparse"],
)
def test_losses_as_objects_and_functions(loss, name):
    model = make(name, loss)
    history = bridge.fit(model, X, TARGETS[name], epochs=3, verbose=0)
    assert history.history["loss"][-1] == pytest.approx(evaluate(model, X, TARGETS[name]), rel=1e-4)


@pytest.mark.slow
def test_from_logits():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = bridge.fit(model, X, TARGETS["sparse_categorical_crossentropy"], epochs=5, verbose=0)
    assert history.history["loss"][-1] == pytest.approx(
        evaluate(model, X, TARGETS["sparse_categorical_crossentropy"]), rel=1e-4
    )


@pytest.mark.parametrize(
    "loss",
    [keras.losses.Dice(), keras.losses.MeanSquaredError(reduction=None), lambda a, b: 0.0],
)
def test_a_loss_that_cannot_be_served_is_named(loss):
    model = make(compiled=loss)
    before = model.get_weights()
    with pytest.raises(ValueError, match="loss"):
        bridge.fit(model, X, TARGETS["mse"])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.slow
def test_an_uncompiled_model_needs_a_loss():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="compile"):
        bridge.fit(model, X, TARGETS["mse"])
    assert bridge.fit(model, X, TARGETS["mse"], loss="mse", epochs=2, verbose=0).history["loss"]


@pytest.mark.slow
def test_frozen_layers_stay_as_they_are():
    model = make()
    model.layers[0].trainable = False
    frozen = [weight.copy() for weight in model.layers[0].get_weights()]
    trained = [weight.copy() for weight in model.layers[1].get_weights()]
    bridge.fit(model, X, TARGETS["mse"], epochs=3, verbose=0)
    assert all(
        np.array_equal(a, b) for a, b in zip(frozen, model.layers[0].get_weights(), strict=True)
    )
    assert not np.array_equal(trained[0], model.layers[1].get_weights()[0])


@pytest.mark.slow
def test_validation_split_takes_the_last_rows():
    split = bridge.fit(make(), X, TARGETS["mse"], epochs=3, validation_split=0.2, verbose=0)
    given = bridge.fit(
        make(),
        X[:40],
        TARGETS["mse"][:40],
        epochs=3,
        validation_data=(X[40:], TARGETS["mse"][40:]),
        verbose=0,
    )
    assert split.history["val_loss"] == given.history["val_loss"]
    for fraction in (1.0, -0.1, 0.999):
        with pytest.raises(ValueError, match="validation_split"):
            bridge.fit(make(), X, TARGETS["mse"], validation_split=fraction)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype(dtype):
    model = make()
    history = bridge.fit(model, X, TARGETS["mse"], epochs=60, dtype=dtype, verbose=0)
    assert all(weight.dtype == np.float32 for weight in model.get_weights())
    assert history.history["loss"][-1] < 0.3 * history.history["loss"][0]


def test_the_architecture_of_the_second_model_is_compiled_already(caplog):
    import jax

    first, again = make(), make()
    assert again.layers[0].name != first.layers[0].name
    bridge.fit(first, X, TARGETS["mse"], epochs=2, verbose=0)
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        bridge.fit(again, X, TARGETS["mse"], epochs=3, verbose=0)
    assert "Compiling jit(_run_epochs)" not in caplog.text


def test_a_fit_never_makes_the_model_worse():
    """In double precision: near the minimum what ``evaluate`` gives in single precision is off by a
    thousandth.
    """
    model = make()

    def loss():
        converted = bridge.from_keras(model, dtype="float64")
        outputs = np.asarray(converted.apply(converted.params, X.astype(float)))
        return np.mean((outputs - TARGETS["mse"].astype(float)) ** 2)

    bridge.fit(model, X, TARGETS["mse"], epochs=200, verbose=0)
    for _ in range(3):
        before = loss()
        bridge.fit(model, X, TARGETS["mse"], epochs=1, verbose=0)
        assert loss() <= before


def test_interrupted_fit_writes_the_best_weights_back(monkeypatch):
    from lmjax._src.runtime import slices as driving

    def interrupting(*args, **options):
        for count, item in enumerate(driving.slices(*args, **options)):
            yield item
            if count == 1:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("lmjax._src.training.epochs.epochs.slices", interrupting)
    model = make()
    before = evaluate(model, X, TARGETS["mse"])
    history = bridge.fit(model, X, TARGETS["mse"], epochs=5000, verbose=0)
    assert history.status is Status.INTERRUPTED
    assert evaluate(model, X, TARGETS["mse"]) == pytest.approx(
        history.history["loss"][-1], rel=1e-3
    )
    assert history.history["loss"][-1] < before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bias_regularizer": Orthogonal()}, r"bias: .* shape \(6,\), .* matrices \(rank 2\)"),
        ({"activity_regularizer": Orthogonal()}, "activity regularizer OrthogonalRegularizer"),
        (
            {"kernel_constraint": keras.constraints.MinMaxNorm(rate=1.5)},
            "kernel: constraint MinMaxNorm",
        ),
    ],
)
def test_what_lm_cannot_serve_is_named(options, words):
    model = make(**options)
    with pytest.raises(bridge.ConversionError, match=words):
        bridge.fit(model, X, TARGETS["mse"])


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X, TARGETS["mse"][:-1], "x has 50, y has 49"),
        (X[:0], TARGETS["mse"][:0], "no rows"),
        (np.where(X > 1, np.nan, X), TARGETS["mse"], "x: .* NaN"),
        (X, np.full((50, 1), np.inf), "y: 50 of 50"),
        (X[:, :2], TARGETS["mse"], "shape"),
        (X, np.zeros((50, 50)), r"expected shape \(50, 1\)"),
        (X, np.array(["a"] * 50), "y: expected numbers"),
        (np.array([["a"] * 3] * 50), TARGETS["mse"], "x: expected numbers"),
    ],
)
def test_data_that_does_not_fit_changes_nothing(x, y, words):
    model = make()
    before = model.get_weights()
    with pytest.raises((ValueError, TypeError), match=words):
        bridge.fit(model, x, y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_data_for_another_number_of_inputs_or_outputs_and_paths_are_refused():
    left, right = keras.Input((2,), name="left"), keras.Input((1,), name="right")
    two = keras.Model(
        [left, right], keras.layers.Dense(1)(keras.layers.Concatenate()([left, right]))
    )
    with pytest.raises(
        ValueError,
        match=r"2 inputs \(left, right\); x must be a list of as many arrays, given ndarray",
    ):
        bridge.fit(two, X, TARGETS["mse"], loss="mse")
    with pytest.raises(TypeError, match="y: the model has one output; expected one array"):
        bridge.fit(make(), X, [TARGETS["mse"], X])
    with pytest.raises(TypeError, match="lmjax fit"):
        bridge.fit("model.keras", X, TARGETS["mse"])


def test_data_frames_are_arrays():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abc")).assign(height=TARGETS["mse"])
    from_frame = bridge.fit(make(), frame[["a", "b", "c"]], frame["height"], epochs=2, verbose=0)
    from_arrays = bridge.fit(make(), X, TARGETS["mse"], epochs=2, verbose=0)
    assert from_frame.history["loss"] == from_arrays.history["loss"]
    with pytest.raises(TypeError, match="encode text and categories"):
        bridge.fit(make(), frame[["a", "b"]].assign(c="red"), frame["height"])


def test_flat_targets_do_not_broadcast():
    flat = bridge.fit(make(), X, TARGETS["mse"][:, 0], epochs=2, verbose=0)
    column = bridge.fit(make(), X, TARGETS["mse"], epochs=2, verbose=0)
    assert flat.history["loss"] == column.history["loss"]


def test_an_unbuilt_model_is_refused():
    model = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(bridge.ConversionError, match=r"build|Input"):
        bridge.fit(model, X, TARGETS["mse"], loss="mse")


@pytest.mark.slow
def test_solver_options_reach_the_solver():
    solver = lmjax.LevenbergMarquardt(gtol=1e6)
    assert bridge.fit(make(), X, TARGETS["mse"], solver=solver, verbose=0).status is Status.GRADIENT
