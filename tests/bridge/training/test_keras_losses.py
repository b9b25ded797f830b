"""Every loss against Keras' own: values of drawn options, shapes and weights, and ways to name it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

import bridge
import lmjax
from bridge._src.formats.compiled import serialized_loss
from bridge._src.training.losses import as_loss, from_serialized, loss_of
from lmjax._src.objectives.losses.offset import sum_of_offsets
from lmjax._src.objectives.losses.over_all import OverAll
from lmjax._src.objectives.losses.step_weights import laid_out

KITS = [keras, tf_keras]
FOCAL = {"gamma": st.sampled_from([0.5, 1.0, 2.0]), "alpha": st.floats(0.1, 0.9)}
SMOOTHED = {"from_logits": st.booleans(), "label_smoothing": st.sampled_from([0.0, 0.2])}
#: Keras' classes with the options that change the value.
OPTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "MeanSquaredError": {},
    "MeanAbsoluteError": {},
    "MeanAbsolutePercentageError": {},
    "MeanSquaredLogarithmicError": {},
    "Huber": {"delta": st.floats(0.2, 3.0)},
    "LogCosh": {},
    "Poisson": {},
    "KLDivergence": {},
    "CosineSimilarity": {"axis": st.sampled_from([-1, 1])},
    "Hinge": {},
    "SquaredHinge": {},
    "CategoricalHinge": {},
    "BinaryCrossentropy": SMOOTHED,
    "BinaryFocalCrossentropy": SMOOTHED | FOCAL | {"apply_class_balancing": st.booleans()},
    "CategoricalCrossentropy": SMOOTHED,
    "CategoricalFocalCrossentropy": SMOOTHED | FOCAL,
    "SparseCategoricalCrossentropy": {
        "from_logits": st.booleans(),
        "ignore_class": st.sampled_from([None, -1, 1]),
    },
}
REDUCTIONS = {
    keras: ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"],
    tf_keras: ["auto", "sum"],
}


def drawn(name: str, options: dict[str, Any], random: Any, shape: tuple[int, ...]) -> Any:
    """Targets and outputs that Keras' loss is defined for, float32."""
    z, y = random.normal(scale=2, size=shape), random.normal(scale=2, size=shape)
    if name in ("Poisson", "MeanSquaredLogarithmicError"):
        z, y = np.exp(z), random.poisson(2, shape)
    elif name in ("Hinge", "SquaredHinge"):
        y = np.where(y > 0, 1, random.choice([0, -1]))
    elif name.startswith("Sparse"):
        y = random.integers(0, shape[-1], shape[:-1])
        y = np.where(random.uniform(size=y.shape) < 0.2, options["ignore_class"] or 0, y)
    elif name.startswith("Categorical"):
        y = np.eye(shape[-1])[random.integers(0, shape[-1], shape[:-1])]
    elif "Crossentropy" in name or name == "KLDivergence":
        y = random.uniform(size=shape)
    if name == "KLDivergence" or ("Crossentropy" in name and not options["from_logits"]):
        z = 1 / (1 + np.exp(-z))
    return y.astype("int32" if name.startswith("Sparse") else "float32"), z.astype("float32")


def value(loss: Any, y: Any, z: Any, weights: Any) -> float:
    """The loss that a fit reports, of outputs z, in float64."""
    with jax.enable_x64(True):
        loss.prepare(y, z.shape)
        given = OverAll(loss).weights(y, weights, z.shape, "sample_weight")
        targets = y.astype(float) if loss.takes_quantities else y
        weights = np.ones(len(y)) if given is None else laid_out(given, loss, z.shape, "w")
        of_sample = loss.value if weights.ndim == 1 else loss.weighted_value
        beside = (targets,) if weights.ndim == 1 else (targets, weights)
        values = jax.vmap(of_sample)(jnp.asarray(z, float), *map(jnp.asarray, beside))
        each = values * weights if weights.ndim == 1 else values
        return (float(np.sum(each)) + sum_of_offsets(loss, targets, weights)) / len(y)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kit", [keras, pytest.param(tf_keras, marks=pytest.mark.slow)])
@settings(max_examples=3, deadline=None)
@given(st.data())
def test_values_are_those_of_keras(kit: Any, name: str, data: st.DataObject) -> None:
    options = {option: data.draw(values) for option, values in OPTIONS[name].items()}
    options["reduction"] = data.draw(st.sampled_from(REDUCTIONS[kit]))
    shape = data.draw(st.sampled_from([(5, 3), (3, 2, 3)]))
    if options.get("axis") == 1 or (kit is tf_keras and "label_smoothing" in options):
        shape = (3, 2, 3)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    y, z = drawn(name, options, random, shape)
    has_steps = len(shape) == 3 and options.get("axis") != 1
    weighted = data.draw(st.sampled_from([None, (shape[0],), shape[:-1] if has_steps else None]))
    weights = None if weighted is None else random.uniform(0.2, 2, weighted).astype("float32")
    theirs = getattr(kit.losses, name)(**options)
    # Keras broadcasts weights of rows along the last axis, which its own fit does not.
    spread = weights
    if weights is not None and weights.ndim == 1 and len(shape) == 3:
        spread = np.repeat(weights[:, None], 3 if options.get("axis") == 1 else 2, axis=1)
    wanted = float(theirs(y, z, sample_weight=spread))
    ours = value(as_loss(theirs), y, z, weights)
    if (
        kit is tf_keras
        and options.get("ignore_class") is not None
        and (y == options["ignore_class"]).all()
    ):
        assert np.isnan(wanted)  # 0/0 where nothing counts, of which Keras 3 makes 0, too
        wanted = 0.0
    # Keras rounds as float32: 1 - p to 6e-8, and sums of terms of both signs.
    assert ours == pytest.approx(wanted, rel=2e-6, abs=2e-6 * max(1, np.size(y)) ** 0.5)


@pytest.mark.parametrize("kit", KITS)
def test_every_way_to_name_a_loss(kit: Any) -> None:
    model = kit.Sequential([kit.Input((3,)), kit.layers.Dense(2)])
    for name in OPTIONS:
        kind = getattr(kit.losses, name)
        ours = getattr(lmjax.losses, name)()
        given = [name, kind, kind()]
        function = getattr(kind(), "fn", None)
        given += [function, function.__name__]
        for loss in given:
            model.compile(loss=loss)
            assert loss_of(model) == as_loss(loss) == ours, loss
            assert from_serialized(serialized_loss(model)) == ours, loss
    for alias in ("mae", "MAE", "mape", "msle", "kld", "KLD"):
        model.compile(loss=alias)
        assert loss_of(model) == as_loss(alias)
    model.compile(loss=kit.losses.Huber(delta=0.3, reduction="sum"))
    wanted = lmjax.losses.Reduced(lmjax.losses.Huber(0.3), "sum")
    assert loss_of(model) == from_serialized(serialized_loss(model)) == wanted


def test_what_cannot_be_served_is_named() -> None:
    for loss, message in (
        (keras.losses.MeanAbsoluteError(reduction=None), "reduction='none' is not served"),
        (keras.losses.SparseCategoricalCrossentropy(axis=1), "axis=1 is not served"),
        (keras.losses.CategoricalCrossentropy(axis=1, label_smoothing=0.1), "label_smoothing"),
        (keras.losses.Dice(), "there is none of the name 'Dice'.*docs/losses.md"),
    ):
        with pytest.raises(ValueError, match=message):
            as_loss(loss)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    ["poisson", pytest.param(keras.losses.Huber(0.5, reduction="sum"), marks=pytest.mark.slow)],
    ids=["poisson", "huber"],
)
def test_a_fit_reports_what_evaluate_gives(loss: Any) -> None:
    """With weights of steps, and a penalty."""
    keras.utils.set_random_seed(0)
    layers, random = keras.layers, np.random.default_rng(0)
    dense = layers.Dense(2, "softplus", kernel_regularizer=keras.regularizers.L2(1e-2))
    model = keras.Sequential([keras.Input((4, 3)), layers.Dense(3, "tanh"), dense])
    model.compile(loss=loss, weighted_metrics=[])
    x, y = random.normal(size=(10, 4, 3)), random.poisson(2, (10, 4, 2))
    weights = random.uniform(0.5, 2, (10, 4))
    history = bridge.fit(model, x, y, sample_weight=weights, epochs=3, verbose=0)
    wanted = model.evaluate(x, y, sample_weight=weights, batch_size=10, verbose=0)
    assert history.history["loss"][-1] == pytest.approx(wanted, rel=2e-6)
    assert history.history["loss"][-1] < history.history["loss"][0]


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.Hinge(reduction="sum"),
        keras.losses.SparseCategoricalCrossentropy(ignore_class=0),
    ],
    ids=["sum", "ignored"],
)
def test_what_a_mask_counts_already_is_refused(loss: Any) -> None:
    model = keras.Sequential(
        [keras.Input((4, 1)), keras.layers.Masking(), keras.layers.LSTM(2, return_sequences=True)]
    )
    model.compile(loss=loss)
    y = np.ones((3, 4, 2) if isinstance(loss, keras.losses.Hinge) else (3, 4))
    with pytest.raises(ValueError, match="together with a mask of the output"):
        bridge.fit(model, np.ones((3, 4, 1)), y, verbose=0)
