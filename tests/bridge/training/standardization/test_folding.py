"""The fold: a model of raw numbers that says what the network of standardised ones says."""

import keras
import numpy as np
import pytest

import bridge
from bridge._src.description.weights import leaves, nest
from bridge._src.training.losses import as_losses
from bridge._src.training.standardization.beginning import folding_of
from bridge._src.training.standardization.request import Request
from lmjax._src.training.data import InMemory

L = keras.layers
RANDOM = np.random.default_rng(0)
ROWS = 40


def sequential(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def two_inputs():
    a, b = keras.Input((2,)), keras.Input((3,))
    joined = L.Concatenate()([a, b])
    hidden = L.Add()([L.Dense(4, "tanh")(joined), L.Dense(4)(L.Dropout(0.5)(b))])
    return keras.Model([a, b], [L.Dense(2)(hidden), L.Dense(1)(hidden)])


#: Models whose first layers take the inputs along their own last axis.
ALONG = {
    "one layer": lambda: sequential((3,), L.Dense(2)),
    "dense": lambda: sequential((3,), L.Dense(5, "tanh"), L.Dense(2)),
    "dense over steps": lambda: sequential((4, 3), L.Dense(5, "tanh"), L.Dense(2)),
    "Conv1D": lambda: sequential((7, 3), L.Conv1D(4, 3, activation="tanh"), L.Conv1D(2, 2)),
    "Conv2D": lambda: sequential(
        (5, 6, 2), L.Conv2D(3, 2, strides=2, activation="tanh"), L.Flatten(), L.Dense(2)
    ),
    "Conv2DTranspose": lambda: sequential(
        (2, 2, 3), L.Conv2D(3, 1, activation="tanh"), L.Conv2DTranspose(2, 2, strides=2)
    ),
    "SimpleRNN": lambda: sequential((4, 3), L.SimpleRNN(4), L.Dense(2)),
    "LSTM": lambda: sequential((4, 3), L.LSTM(3, return_sequences=True), L.Dense(2)),
    "GRU": lambda: sequential((4, 3), L.GRU(3), L.Dense(2), L.Reshape((1, 2))),
    "GRU, reset before": lambda: sequential((4, 3), L.GRU(3, reset_after=False), L.Dense(2)),
    "RNN": lambda: sequential((4, 3), L.RNN(L.LSTMCell(3)), L.Dense(2)),
    "Bidirectional": lambda: sequential((4, 3), L.Bidirectional(L.GRU(3)), L.Dense(2)),
    "TimeDistributed": lambda: sequential(
        (4, 3), L.TimeDistributed(L.Dense(4, "tanh")), L.TimeDistributed(L.Dense(2))
    ),
    "several inputs and outputs": two_inputs,
}


def spread(shape):
    sizes = 10 ** RANDOM.uniform(-3, 4, shape[-1:])
    return RANDOM.normal(size=(ROWS, *shape[1:])) * sizes + RANDOM.normal(size=shape[-1:]) * 1e3


def drawn_data(model):
    """Inputs and targets with large means, and scales far from one."""
    x, y = (
        [spread(tensor.shape) for tensor in tensors] for tensors in (model.inputs, model.outputs)
    )
    return (x if len(x) > 1 else x[0]), (y if len(y) > 1 else y[0])


def of(model, x, y, request):
    converted = bridge.from_keras(model, dtype="float64")
    loss = as_losses("mse", converted.module)
    return folding_of(converted, InMemory(x, y), loss, request)


def drawn_params(folding):
    return nest({path: RANDOM.normal(size=leaf.shape) for path, leaf in leaves(folding.raw.params)})


def each(function, tree):
    return [function(part) for part in tree] if isinstance(tree, list) else function(tree)


def standardised(array, kind="mean"):
    columns = array.reshape(-1, array.shape[-1])
    if kind == "mean":
        shift, scale = columns.mean(axis=0), columns.std(axis=0)
    else:
        low, high = columns.min(axis=0), columns.max(axis=0)
        shift, scale = (low + high) / 2, (high - low) / 2
    return (array - shift) / scale, scale, shift


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("dense", "GRU", "several inputs and outputs")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in ALONG
    ],
)
@pytest.mark.parametrize("kind", ["mean", pytest.param("range", marks=pytest.mark.slow)])
def test_folded_weights_say_of_raw_numbers_what_the_network_says_of_standardised_ones(name, kind):
    model = ALONG[name]()
    x, y = drawn_data(model)
    folding = of(model, x, y, Request(kind, kind))
    params = drawn_params(folding)
    wanted = folding.raw(params, each(lambda part: standardised(part, kind)[0], x))
    scales = [standardised(part, kind)[1:] for part in (y if isinstance(y, list) else [y])]
    found = folding.raw(folding.fold(params), x)
    within = folding.model(params).apply(params, x)
    for one, other, inside, (scale, shift) in zip(
        *(part if isinstance(part, (list, tuple)) else [part] for part in (found, wanted, within)),
        scales,
        strict=True,
    ):
        np.testing.assert_allclose((one - shift) / scale, other, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose((inside - shift) / scale, other, rtol=1e-9, atol=1e-9)
    for (path, back), (_, given) in zip(
        leaves(folding.unfold(folding.fold(params))), leaves(params), strict=True
    ):
        np.testing.assert_allclose(back, given, rtol=1e-6, atol=1e-6, err_msg=str(path))


def test_what_layers_without_weights_make_of_the_inputs_is_what_is_standardised():
    normalization = L.Normalization()
    x = RANDOM.normal(size=(ROWS, 2, 3)) * 50 + 300
    normalization.adapt(x)
    for front in (L.Rescaling(1 / 255, offset=3), normalization):
        model = sequential((2, 3), front, L.Flatten(), L.Dense(3, "tanh"), L.Dense(1))
        folding = of(model, x, x[:, 0, :1], Request("mean", None))
        params, flat = drawn_params(folding), np.asarray(front(x)).reshape(ROWS, 6)
        first, last = (params[layer.name] for layer in model.layers[-2:])
        hidden = np.tanh(standardised(flat)[0] @ first["kernel"] + first["bias"])
        np.testing.assert_allclose(
            folding.raw(folding.fold(params), x),
            hidden @ last["kernel"] + last["bias"],
            rtol=1e-5,
            atol=1e-5,
        )


def test_steps_under_a_mask_have_no_part_in_the_means():
    x = RANDOM.normal(size=(ROWS, 4, 2)) + 70
    x[:, 3] = -1e9
    model = sequential((4, 2), L.Masking(-1e9), L.LSTM(2), L.Dense(1))
    ((_, map_),) = of(model, x, x[:, 0, :1], Request("mean", None)).inputs
    np.testing.assert_allclose(map_.shift, x[:, :3].mean(axis=(0, 1)))


def test_constant_columns_are_only_shifted():
    x = np.column_stack([RANDOM.normal(size=ROWS), np.full(ROWS, 0.1), np.zeros(ROWS)])
    for kind in ("mean", "range"):
        model = sequential((3,), L.Dense(1))
        ((_, map_),) = of(model, x, x[:, :1], Request(kind, None)).inputs
        np.testing.assert_array_equal(map_.scale[1:], [1.0, 1.0])
        np.testing.assert_array_equal(map_.shift[1:], [0.1, 0.0])


def skip():
    given = keras.Input((3,))
    return keras.Model(given, L.Dense(1)(L.Concatenate(name="skip")([given, L.Dense(2)(given)])))


def shared():
    layer, a, b = L.Dense(2, name="shared"), keras.Input((3,)), keras.Input((3,))
    return keras.Model([a, b], L.Dense(1)(L.Concatenate()([layer(a), layer(b)])))


def read_twice():
    given = keras.Input((3,))
    out = L.Dense(1, name="out")(L.Dense(2)(given))
    return keras.Model(given, [out, L.Dense(1)(out)])


def frozen():
    model = sequential((3,), L.Dense(3, name="free"), L.Dense(1, name="end"))
    model.layers[-1].trainable = False
    return model


REFUSED = {
    "skip": (skip, "'skip', which takes them beside other tensors"),
    "shared": (shared, "'shared', which is called more than once"),
    "read twice": (read_twice, "'out', which is read by other layers, too"),
    "no bias": (
        lambda: sequential((3,), L.Dense(2, use_bias=False, name="bare"), L.Dense(1)),
        "'bare' has no bias",
    ),
    "no bias at the end": (
        lambda: sequential((3,), L.Dense(2), L.Dense(1, use_bias=False, name="bare")),
        "'bare' has no bias",
    ),
    "same": (
        lambda: sequential((5, 3), L.Conv1D(2, 3, padding="same", name="wide"), L.Dense(1)),
        "'wide' pads its inputs with zeros",
    ),
    "normalised": (
        lambda: sequential((3,), L.LayerNormalization(name="first"), L.Dense(1)),
        "'first', which is none of the layers that can be folded",
    ),
    "activation": (
        lambda: sequential((3,), L.Dense(2), L.Dense(1, "relu", name="end")),
        "'end', which has an activation at its end",
    ),
    "model within": (
        lambda: sequential((3,), keras.Sequential([L.Dense(2)], name="inner"), L.Dense(1)),
        "'inner', which is a model within the model",
    ),
    "indices": (
        lambda: sequential((3,), L.Embedding(5, 2), L.Flatten(), L.Dense(1)),
        "no layer of the model takes real numbers",
    ),
    "constraint": (
        lambda: sequential((3,), L.Dense(2, kernel_constraint="non_neg", name="c"), L.Dense(1)),
        "c/kernel has a constraint",
    ),
    "regularizer": (
        lambda: sequential((3,), L.Dense(2), L.Dense(1, bias_regularizer="l2", name="r")),
        "r/bias has a regularizer",
    ),
    "frozen": (frozen, "end/kernel is frozen"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_fold_is_refused_by_name(name):
    make, message = REFUSED[name]
    model = make()
    x, y = drawn_data(model)
    if name == "indices":
        x = RANDOM.integers(0, 5, size=(ROWS, 3))
    before = model.get_weights()
    with pytest.raises(ValueError, match=f"standardize: .*{message}"):
        bridge.fit(model, x, y, loss="mse", standardize="both", epochs=1, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
