"""Masks and weights of steps: the loss is that of ``model.evaluate`` with a batch of all rows, for
Keras 3 and Keras 2.
"""

import warnings

import jax
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bridge
from bridge._src.conversion.convert import from_keras
from bridge._src.training.losses import loss_of
from bridge._src.training.masks import output_mask
from bridge._src.training.problem import problem_of
from lmjax._src.arrays.structure import Structure
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.training.dataset import make_rows

N, T = 12, 5
RANDOM = np.random.default_rng(0)
TOKENS = RANDOM.integers(1, 7, (N, T))
TOKENS[:8, 3:] = 0
SERIES = RANDOM.normal(size=(N, T, 2)).astype("float32")
SERIES[2:9, 2:] = np.float32(0.1)
WEIGHTS = RANDOM.random((N, T))
L2 = keras.regularizers.L2


def tagger(package):
    layers = package.layers
    chain = [
        layers.Embedding(7, 3, mask_zero=True),
        layers.LSTM(3, return_sequences=True),
        layers.Dense(3, activation="softmax"),
    ]
    model = package.Sequential([layers.Input((T,), dtype="int32"), *chain])
    model.compile(loss="sparse_categorical_crossentropy")
    return model


def regression(package, steps=T):
    layers = package.layers
    active = layers.SimpleRNN(
        3, return_sequences=True, activity_regularizer=package.regularizers.L2(0.1)
    )
    model = package.Sequential(
        [
            layers.Input((steps, 2)),
            layers.Masking(0.1),
            active,
            layers.TimeDistributed(layers.Dense(1)),
        ]
    )
    model.compile(loss="mse")
    return model


TARGETS = np.cumsum(SERIES[..., :1], axis=1) + 5 * (SERIES[..., :1] == np.float32(0.1))


def evaluate(model, x, y, weights=None):
    return model.evaluate(x, y, sample_weight=weights, batch_size=len(y), verbose=0)


@pytest.mark.slow
def test_a_fit_leaves_out_what_keras_leaves_out(tmp_path):
    model, held_out = tagger(keras), slice(7)
    history = bridge.fit(
        model,
        TOKENS,
        TOKENS % 3,
        epochs=2,
        validation_data=(TOKENS[held_out], TOKENS[held_out] % 3, WEIGHTS[held_out]),
        verbose=0,
    ).history
    assert history["loss"][-1] == pytest.approx(evaluate(model, TOKENS, TOKENS % 3), rel=1e-5)
    validation = evaluate(model, TOKENS[held_out], TOKENS[held_out] % 3, WEIGHTS[held_out])
    assert history["val_loss"][-1] == pytest.approx(validation, rel=1e-5)
    # Targets under the mask make no difference.
    garbage = np.where(TOKENS == 0, 2, TOKENS % 3)
    np.save(tmp_path / "garbage.npy", garbage)
    garbage = np.load(tmp_path / "garbage.npy", mmap_mode="r")  # a batch may come from a memory map
    assert bridge.Trainer(model).step(TOKENS, garbage) == pytest.approx(
        history["loss"][-1], rel=1e-5
    )
    some = slice(6, 12)  # a batch is a data set of its own
    step = bridge.Trainer(model).step(TOKENS[some], TOKENS[some] % 3, WEIGHTS[some])
    assert step == pytest.approx(
        evaluate(model, TOKENS[some], TOKENS[some] % 3, WEIGHTS[some]), rel=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"batch_size": 5}])
def test_streams_with_activity_regularizers(options):
    model = regression(keras)
    start = model.get_weights()
    pieces = [
        (SERIES[:5], TARGETS[:5], WEIGHTS[:5]),
        (SERIES[5:], TARGETS[5:], WEIGHTS[5:, :, None]),
    ]
    for data, weights in (((pieces, None), None), ((SERIES, TARGETS), WEIGHTS)):
        model.set_weights(start)
        validation = pieces if weights is None else (SERIES, TARGETS, WEIGHTS)
        result = bridge.fit(
            model,
            *data,
            sample_weight=weights,
            epochs=3,
            validation_data=validation,
            verbose=0,
            **options,
        )
        best = min(result.history["loss"])
        assert best == pytest.approx(evaluate(model, SERIES, TARGETS, WEIGHTS), rel=1e-5)
        np.testing.assert_allclose(result.history["val_loss"], result.history["loss"], rtol=1e-9)


@pytest.mark.slow
def test_open_sizes():
    model = regression(keras, None)
    model.layers[1].activity_regularizer = None
    history = bridge.fit(model, SERIES, TARGETS, epochs=1, verbose=0).history
    assert history["loss"][-1] == pytest.approx(evaluate(model, SERIES, TARGETS), rel=1e-5)


@pytest.mark.slow
def test_class_weights_of_steps():
    """As Keras 2 takes them, for one-hot rows and for indices with a last axis of length one."""
    model, by_class = tagger(keras), {0: 1.0, 1: 2.0, 2: 0.5}
    weights = np.vectorize(by_class.get)(TOKENS % 3) * WEIGHTS
    history = bridge.fit(
        model,
        TOKENS,
        (TOKENS % 3)[..., None],
        class_weight=by_class,
        sample_weight=WEIGHTS,
        epochs=1,
        verbose=0,
    ).history
    assert history["loss"][-1] == pytest.approx(
        evaluate(model, TOKENS, TOKENS % 3, weights), rel=1e-5
    )
    with pytest.raises(
        ValueError, match=r"class_weight: Keras takes targets of shape \(12, 5\) for one-hot rows"
    ):
        bridge.fit(model, TOKENS, TOKENS % 3, class_weight=by_class, verbose=0)


@pytest.mark.slow
def test_masks_that_cannot_be_served_are_named():
    layers = keras.layers
    behind = keras.Sequential(
        [keras.Input((T, 2)), layers.Dense(2, activation="relu"), layers.Masking(), layers.Dense(1)]
    )
    behind.compile(loss="mse")
    with pytest.raises(
        bridge.ConversionError, match="mask of the output depends on weights that are trained"
    ):
        bridge.fit(behind, SERIES, TARGETS, verbose=0)
    behind.layers[0].trainable = False
    history = bridge.fit(behind, SERIES, TARGETS, epochs=1, verbose=0).history
    assert history["loss"][-1] == pytest.approx(evaluate(behind, SERIES, TARGETS), rel=1e-5)
    with pytest.raises(
        ValueError,
        match=r"sample_weight: expected one weight for each of the 12 rows, .* got \(12, 4\)",
    ):
        bridge.fit(tagger(keras), TOKENS, TOKENS % 3, sample_weight=np.ones((N, 4)), verbose=0)
    with pytest.raises(ValueError, match="all weights are zero"):
        bridge.fit(tagger(keras), np.zeros_like(TOKENS), TOKENS % 3, verbose=0)


def our_loss(model, x, y, weights):
    converted = from_keras(model, "float32")
    mask = output_mask(converted)
    weights = weights if mask is None else mask.weights_of(x, weights)
    problem, dtype = problem_of(converted, loss_of(model)), np.dtype("float32")
    rows = make_rows(
        problem.function,
        problem.params,
        problem.loss,
        x,
        y,
        weights,
        dtype,
        ("x", "y", "sample_weight"),
    )
    structure = Structure.of(problem.params)
    objective = SupervisedObjective(
        jax.tree.map(np.asarray, rows), problem.function, None, problem.loss, structure
    )
    flat = structure.flatten_concrete(problem.params, dtype)
    return float(objective.cost(objective.evaluate(flat)))


LAYERS = {
    "dense": lambda layers: layers.Dense(3, "tanh"),
    "lstm": lambda layers: layers.LSTM(2, return_sequences=True),
    "backwards": lambda layers: layers.GRU(2, return_sequences=True, go_backwards=True),
    "bidirectional": lambda layers: layers.Bidirectional(
        layers.SimpleRNN(2, return_sequences=True)
    ),
    "distributed": lambda layers: layers.TimeDistributed(layers.Dense(2)),
    "dropout": lambda layers: layers.Dropout(0.5),
    "normalized": lambda layers: layers.LayerNormalization(),
    "activity": lambda layers: layers.ActivityRegularization(l2=0.1),
    "masking": lambda layers: layers.Masking(0.0),
    "convolution": lambda layers: layers.Conv1D(2, 1),  # takes the mask off
}
LOSSES = {
    "mse": (None, lambda random, count: random.normal(size=(N, T, count))),
    "binary_crossentropy": ("sigmoid", lambda random, count: random.random((N, T, count))),
    "categorical_crossentropy": (
        "softmax",
        lambda random, count: np.eye(count)[random.integers(0, count, (N, T))],
    ),
    "sparse_categorical_crossentropy": (
        "softmax",
        lambda random, count: random.integers(0, count, (N, T)),
    ),
}


def check(package, names, loss, seed, weighted, tokens):
    layers, random = package.layers, np.random.default_rng(seed)
    x = (
        random.integers(0, 4, (N, T))
        if tokens
        else random.integers(0, 2, (N, T, 1)) * random.normal(size=(N, T, 2)).astype("float32")
    )
    first = [layers.Embedding(4, 2, mask_zero=True)] if tokens else [layers.Masking(0.0)]
    activation, targets = LOSSES[loss]
    chain = [*first, *(LAYERS[name](layers) for name in names), layers.Dense(3, activation)]
    package.utils.set_random_seed(seed)
    model = package.Sequential(
        [layers.Input((T,), dtype="int32") if tokens else layers.Input((T, 2)), *chain]
    )
    model.compile(loss=loss, run_eagerly=True)
    shape = {
        "none": None,
        "steps": (N, T),
        "one more axis": (N, T, 1),
        "rows": (N,),
        "column": (N, 1),
    }[weighted]
    weights = None if shape is None else random.random(shape)
    y = targets(random, 3)
    try:
        ours = our_loss(model, x, y, weights)
    except bridge.ConversionError as error:
        assert "depends on weights that are trained" in str(error)  # noqa: PT017 - a case of the property
        assert "masking" in names
        return
    assert ours == pytest.approx(evaluate(model, x, y, weights), rel=2e-5)


CASES = given(
    names=st.lists(st.sampled_from(sorted(LAYERS)), max_size=3),
    loss=st.sampled_from(sorted(LOSSES)),
    seed=st.integers(0, 2**16),
    weighted=st.sampled_from(["none", "steps", "one more axis", "column"]),
    tokens=st.booleans(),
)
QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* does not support masking")
@settings(max_examples=30, **QUIET)
@CASES
def test_the_loss_is_that_of_evaluate(names, loss, seed, weighted, tokens):
    check(keras, names, loss, seed, weighted, tokens)


@pytest.mark.slow
@settings(max_examples=20, **QUIET)
@CASES
def test_the_loss_is_that_of_evaluate_in_keras_2(names, loss, seed, weighted, tokens):
    tf_keras = pytest.importorskip("tf_keras")
    with warnings.catch_warnings(action="ignore"):
        check(
            tf_keras,
            [name for name in names if name != "convolution"],
            loss,
            seed,
            {"column": "rows"}.get(weighted, weighted),
            tokens,
        )


@pytest.mark.slow
def test_examples_of_the_law():
    tf_keras = pytest.importorskip("tf_keras")
    for package in (keras, tf_keras):
        check(package, ["lstm", "activity"], "sparse_categorical_crossentropy", 1, "steps", True)
        check(package, ["distributed"], "mse", 2, "none", False)
