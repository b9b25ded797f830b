"""``bridge.fit(..., standardize=...)``: trained on standardised numbers, in and out in raw ones."""

import keras
import numpy as np
import pytest

import bridge
import lmjax

RANDOM = np.random.default_rng(0)
Z = RANDOM.normal(size=(120, 3))
#: Inputs of some ten thousands, targets of some thousandths.
X = Z * [3e3, 2e3, 1e4] + [1e4, -2e4, 3e4]
Y = 1e-3 * (np.sin(2 * Z[:, :1]) + Z[:, 1:2] * Z[:, 2:]) + 5e-3


def make(seed=0, loss="mse", **options):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(8, "tanh", **options),
            keras.layers.Dense(1, **options),
        ]
    )
    model.compile(loss=loss)
    return model


def evaluate(model, *data, **options):
    return float(model.evaluate(*data, batch_size=len(data[0]), verbose=0, **options))


def fit(model, x=X, y=Y, standardize="both", epochs=20, **options):
    return bridge.fit(model, x, y, epochs=epochs, verbose=0, standardize=standardize, **options)


def test_the_reported_loss_is_that_of_raw_numbers_and_a_second_call_goes_on_from_it():
    model = make()
    history = fit(model)
    loss = history.history["loss"][-1]
    assert loss < 0.1 * Y.var()
    # Keras computes in float32, of inputs some deviations from 0.
    assert evaluate(model, X, Y) == pytest.approx(loss, rel=1e-3)
    again = fit(model, epochs=2)
    assert again.start["loss"] == pytest.approx(loss, rel=1e-6)
    assert again.history["loss"][-1] <= again.start["loss"]


@pytest.mark.slow
def test_it_does_well_where_a_plain_fit_does_badly():
    plain, standardized = (
        fit(make(), standardize=asked, epochs=60).history["loss"][-1] / Y.var()
        for asked in (None, "both")
    )
    assert standardized < 1e-4 < 0.1 < plain


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"loss": "mae"}, {"kernel_regularizer": keras.regularizers.L1L2(1e-9, 1e-9)}],
    ids=["plain", "mae", "penalised"],
)
def test_losses_of_an_early_end_are_those_of_evaluate(options):
    model = make(**options)
    held_out = (X[:20], Y[:20])
    history = fit(model, X[20:], Y[20:], epochs=4, validation_data=held_out, restore="last")
    assert history.history["loss"][-1] == pytest.approx(evaluate(model, X[20:], Y[20:]), rel=1e-4)
    assert history.history["val_loss"][-1] == pytest.approx(evaluate(model, *held_out), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [keras.regularizers.L2(1e-2), keras.regularizers.L1(1e-4)])
def test_the_penalty_is_that_of_the_raw_weights(kind):
    model = make(kernel_regularizer=kind)
    history = fit(model, epochs=5)
    loss = history.history["loss"][-1]
    assert loss == pytest.approx(evaluate(model, X, Y), rel=1e-3)
    assert loss > 1.001 * np.mean(np.square(model.predict(X, verbose=0) - Y))
    assert loss < 0.9 * history.start["loss"]


@pytest.mark.slow
def test_float32_sides_and_maps():
    for dtype in ("float32", "float64"):
        for asked in (True, {"inputs": "range", "targets": "range"}, {"inputs": "mean"}):
            model = make()
            history = fit(model, standardize=asked, dtype=dtype)
            assert history.history["loss"][-1] == pytest.approx(evaluate(model, X, Y), rel=2e-2)
            assert history.history["loss"][-1] < 0.1 * Y.var()


@pytest.mark.slow
def test_batches_and_streams():
    model = make()
    by_rows = fit(model, batch_size=40, epochs=5, restore="last")
    assert by_rows.history["loss"][-1] == pytest.approx(evaluate(model, X, Y), rel=1e-3)
    batches = [(X[start : start + 40], Y[start : start + 40]) for start in range(0, 120, 40)]
    streamed, whole = make(), make()
    history = bridge.fit(streamed, batches, epochs=8, verbose=0, standardize="both")
    wanted = fit(whole, epochs=8)
    np.testing.assert_allclose(history.history["loss"], wanted.history["loss"], rtol=1e-4)
    np.testing.assert_allclose(
        streamed.predict(X, verbose=0), whole.predict(X, verbose=0), rtol=1e-3, atol=1e-6
    )


@pytest.mark.slow
def test_several_outputs_each_in_its_units():
    keras.utils.set_random_seed(0)
    given = keras.Input((3,))
    hidden = keras.layers.Dense(8, "tanh")(given)
    heads = [keras.layers.Dense(1, name=name)(hidden) for name in ("small", "large")]
    kind = keras.layers.Dense(1, "sigmoid", name="kind")(hidden)
    targets = {"small": Y, "large": 1e9 * Y[::-1] ** 2, "kind": (Z[:, :1] > 0).astype(float)}
    model = keras.Model(given, [*heads, kind])
    model.compile(loss=["mse", "mse", None], loss_weights=[1e9, 1.0, 1.0])
    history = fit(model, y={name: targets[name] for name in ("small", "large")}, epochs=15)
    values = model.predict(X, verbose=0)
    errors = [
        np.mean(np.square(value - target))
        for value, target in zip(values, targets.values(), strict=True)
    ]
    assert history.history["loss"][-1] == pytest.approx(1e9 * errors[0] + errors[1], rel=1e-2)
    model.compile(loss=["mse", "mse", "binary_crossentropy"])
    with pytest.raises(ValueError, match="BinaryCrossentropy of output 'kind'"):
        fit(model, y=targets)
    assert fit(model, y=targets, standardize="inputs", epochs=2).history["loss"]


def test_callbacks_see_and_change_the_raw_model():
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append((logs["loss"], evaluate(self.model, X, Y)))
            if epoch == 0:
                layer = self.model.layers[-1]
                kernel, bias = layer.get_weights()
                layer.set_weights([kernel, bias + 1e-1])

    fit(make(), epochs=3, callbacks=[Look()])
    assert len(seen) == 3
    for said, found in seen:
        assert said == pytest.approx(found, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_no_fit_makes_a_model_worse(seed, size):
    y = size * RANDOM.normal(size=(120, 1))
    model = make(seed)
    before = evaluate(model, X, y)
    history = fit(model, y=y, epochs=2)
    middle = evaluate(model, X, y)
    assert middle <= before * (1 + 1e-6)
    assert history.start["loss"] < 10 * np.var(y) or history.start["loss"] <= before
    fit(model, y=y, epochs=1)
    assert evaluate(model, X, y) <= middle * (1 + 1e-6)


@pytest.mark.slow
def test_classes_have_their_inputs_standardised():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(8, "tanh"),
            keras.layers.Dense(2, "softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy")
    classes = (Z[:, 0] * Z[:, 1] > 0).astype(int)
    history = fit(model, y=classes, standardize="inputs")
    assert history.history["loss"][-1] < 0.1
    with pytest.raises(ValueError, match=r"SparseCategoricalCrossentropy of output .* not known"):
        fit(model, y=classes)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ("outputs", ValueError, "got 'outputs'"),
        ({"inputs": "minmax"}, ValueError, "got {'inputs': 'minmax'}"),
        (2, TypeError, "got 2"),
    ],
)
def test_other_options_are_refused(asked, error, message):
    with pytest.raises(error, match=f"standardize: expected .*{message}"):
        fit(make(), standardize=asked)


def test_data_without_moments_are_refused():
    x, y = X.copy(), Y.copy()
    x[3, 1], y[5] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"standardize: the inputs of layer .*column 1"):
        fit(make(), x)
    with pytest.raises(ValueError, match="standardize: y hold NaN"):
        fit(make(), y=y)


@pytest.mark.slow
def test_what_float32_loses_is_said():
    x, y = Z + 1e6, np.sin(Z[:, :1])
    with pytest.warns(UserWarning, match="standardize: in float32"):
        fit(make(), x, y, epochs=10)


def test_the_form_of_the_steps_is_that_of_any_fit():
    keras.utils.set_random_seed(0)
    wide = RANDOM.normal(size=(30, 200)) * 100 + 1e3
    model = keras.Sequential(
        [keras.Input((200,)), keras.layers.Dense(20, "tanh"), keras.layers.Dense(1)]
    )
    model.compile(loss="mse")
    solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.DualCholesky())
    history = fit(model, wide, Y[:30], epochs=10, solver=solver)
    assert history.history["loss"][-1] < 1e-4 * Y[:30].var()
