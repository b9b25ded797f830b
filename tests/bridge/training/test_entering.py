"""Data that enter the fit of a Keras model: integers, indices, and what is refused."""

import keras
import numpy as np
import pytest

import bridge

X = np.linspace(-1, 1, 24).reshape(8, 3)
LARGE = np.arange(8) * 10**9


def regression(units=1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    model.compile(loss="mse")
    return model


def words(dtype="int32"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,), dtype=dtype),
            keras.layers.Embedding(5, 2, name="words"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(loss="mse")
    return model


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integers_of_64_bits(dtype):
    """As targets, inputs, weights and validation data, in memory, in a stream and in a trainer: the
    same loss as their floats.
    """
    x = (X * 4e9).astype(np.int64)
    y = LARGE[:, None]
    expected = bridge.fit(
        regression(),
        x.astype(float),
        y.astype(float),
        epochs=3,
        dtype=dtype,
        verbose=0,
        validation_data=(X, X[:, :1]),
    )
    for data in (
        {"x": x, "y": y},
        {"x": [(x[:4], y[:4]), (x[4:], y[4:])]},
        {"x": x.tolist(), "y": y.tolist()},
    ):
        got = bridge.fit(
            regression(), **data, epochs=3, dtype=dtype, verbose=0, validation_data=(X, X[:, :1])
        )
        np.testing.assert_allclose(
            got.history["loss"], expected.history["loss"], rtol=1e-3 if dtype == "float32" else 1e-9
        )
    first = bridge.Trainer(regression(), dtype=dtype).step(x, y)
    assert first == pytest.approx(
        bridge.Trainer(regression(), dtype=dtype).step(x.astype(float), y.astype(float)), rel=1e-6
    )


@pytest.mark.slow
def test_indices_that_a_table_does_not_have_are_refused_with_layer_index_and_row():
    tokens = np.random.default_rng(0).integers(0, 5, (8, 3))
    y = tokens.sum(1, keepdims=True).astype("float32")
    model = words()
    before = model.get_weights()
    assert np.isfinite(bridge.fit(model, tokens, y, epochs=1, verbose=0).history["loss"]).all()
    model.set_weights(before)
    for wrong in (5, -1, 2**31 - 1):
        bad = tokens.copy()
        bad[6, 1] = wrong
        says = (
            rf"layer 'words' has 5 rows, for indices from 0 to 4, and gets index {wrong} in row 6"
        )
        for data in (
            {"x": bad, "y": y},
            {"x": bad.astype(float), "y": y},
            {"x": [(tokens[:3], y[:3]), (bad, y)]},
        ):
            counted = says.replace("row 6", "row 9") if "y" not in data else says
            with pytest.raises(ValueError, match=f"^x: {counted}"):
                bridge.fit(model, **data, verbose=0)
        with pytest.raises(ValueError, match=f"^validation x: {says}"):
            bridge.fit(model, tokens, y, validation_data=(bad, y), verbose=0)
        with pytest.raises(ValueError, match=f"^validation_data: {says}"):
            bridge.fit(model, tokens, y, validation_data=[(bad, y)], verbose=0)
        with pytest.raises(ValueError, match=says):
            bridge.Trainer(model).step(bad, y)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    floats = words("float32")
    with pytest.raises(ValueError, match="gets index 5 in row 6"):
        bridge.fit(floats, np.where(np.arange(8)[:, None] == 6, 5, tokens), y, verbose=0)


@pytest.mark.slow
def test_indices_within_inner_models_and_wrappers():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential(
        [keras.Input((3,), dtype="int32"), keras.layers.Embedding(5, 2, name="deep")], name="inner"
    )
    tokens, numbers = (
        keras.Input((2, 3), dtype="int32", name="tokens"),
        keras.Input((4,), name="numbers"),
    )
    shifted = keras.layers.TimeDistributed(inner, name="times")(tokens)
    outputs = keras.layers.Dense(1)(
        keras.layers.Concatenate()([keras.layers.Flatten()(shifted), numbers])
    )
    model = keras.Model([tokens, numbers], outputs)
    model.compile(loss="mse")
    x = np.random.default_rng(0).integers(0, 5, (6, 2, 3))
    rest = np.zeros((6, 4))
    assert np.isfinite(
        bridge.fit(model, [x, rest], np.ones(6), epochs=1, verbose=0).history["loss"]
    ).all()
    x[4, 1, 2] = 7
    with pytest.raises(ValueError, match=r"^x: layer 'times/.*deep' has 5 rows.*index 7 in row 4"):
        bridge.fit(model, {"tokens": x, "numbers": rest}, np.ones(6), verbose=0)


def test_class_indices_out_of_range():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy")
    y = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    for wrong in (3, -1):
        bad = np.where(np.arange(8) == 5, wrong, y)
        with pytest.raises(ValueError, match=f"^y: .*got {wrong} in row 5"):
            bridge.fit(model, X, bad, verbose=0)
        with pytest.raises(ValueError, match=f"^validation y: .*got {wrong} in row 5"):
            bridge.fit(model, X, y, validation_data=(X, bad), verbose=0)
        with pytest.raises(ValueError, match=f"got {wrong} in row 5"):
            bridge.Trainer(model).step(X, bad)


def test_what_is_no_number_leaves_the_model_alone():
    model = regression()
    before = model.get_weights()
    masked = np.ma.masked_array(X, mask=X > 0.9)
    dates = (X * 1000).astype("M8[s]")
    for x, y, options, says in (
        (masked, LARGE, {}, "x: 2 entries are masked"),
        (X, masked[:, :1], {}, None),
        (X, masked[:, 2], {}, "y: 1 entries are masked"),
        (X, LARGE, {"sample_weight": masked[:, 2]}, "sample_weight: 1 entries are masked"),
        (X, LARGE, {"validation_data": (masked, LARGE)}, "x: 2 entries are masked"),
        ([(masked, LARGE)], None, {}, "x: 2 entries are masked"),
        (dates, LARGE, {}, "x: expected numbers, got dates"),
        (X + 0j, LARGE, {}, "x: expected real numbers"),
        (X.astype(str), LARGE, {}, "x: expected numbers, got text"),
    ):
        if says is None:
            assert bridge.fit(regression(), x, y, epochs=1, verbose=0)  # nothing of it is masked
            continue
        with pytest.raises(TypeError, match=says):
            bridge.fit(model, x, y, verbose=0, **options)
    with pytest.raises(TypeError, match="x: 2 entries are masked"):
        bridge.Trainer(model).step(masked, LARGE)
    with pytest.raises(ValueError, match="x: holds 1e\\+39"):
        bridge.fit(model, X * 1e39, LARGE, dtype="float32", verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_frames_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abc"))
    mixed = frame.assign(b=frame["b"] > 0)  # an array of objects for NumPy
    expected = bridge.fit(regression(), mixed.astype(float).to_numpy(), LARGE, epochs=2, verbose=0)
    got = bridge.fit(regression(), mixed, pandas.Series(LARGE), epochs=2, verbose=0)
    assert got.history["loss"] == expected.history["loss"]
    gaps = frame.assign(a=pandas.array([1] * 7 + [None], dtype="Int64"))
    with pytest.raises(TypeError, match=r"x: expected numbers, got <NA> \(NAType\) at \(7, 0\)"):
        bridge.fit(regression(), gaps, LARGE, verbose=0)
    with pytest.raises(TypeError, match="x: expected numbers, got 'u'"):
        bridge.fit(
            regression(), frame.assign(a=pandas.Categorical(["u", "v"] * 4)), LARGE, verbose=0
        )
