"""Every number of a history is that of ``model.evaluate`` on the same weights: losses, metrics and
validation, with weights, masks, penalties and several outputs, in double precision, where nothing
but a difference of meaning shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

import bridge

#: A failing case is not shrunk, which would compile for minutes; it is told as it is.
FIRST = [Phase.explicit, Phase.reuse, Phase.generate]
N, T = 8, 3
#: The rows that validate.
V = 5


class Head(NamedTuple):
    """A last layer with the losses and metrics that suit it."""

    activation: str
    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    kind: str  #: of targets


HEADS = {
    "real": Head(
        "linear",
        ("mse", "mae", "huber", "log_cosh", "cosine_similarity", "mape"),
        ("mae", "mse"),
        "real",
    ),
    "count": Head("softplus", ("poisson", "msle", "mse"), ("poisson", "mae"), "count"),
    "side": Head("tanh", ("hinge", "squared_hinge"), ("mae", "hinge"), "side"),
    "share": Head(
        "sigmoid", ("binary_crossentropy", "binary_focal_crossentropy"), ("mae",), "share"
    ),
    "one-hot": Head(
        "softmax",
        (
            "categorical_crossentropy",
            "categorical_focal_crossentropy",
            "kl_divergence",
            "categorical_hinge",
        ),
        ("accuracy", "mae"),
        "one-hot",
    ),
    "class": Head("softmax", ("sparse_categorical_crossentropy",), ("accuracy",), "class"),
}


def targets(kind: str, random: Any, shape: tuple[int, ...]) -> Any:
    """Of outputs of ``shape``."""
    if kind == "class":
        return random.integers(0, shape[-1], shape[:-1])
    if kind == "one-hot":
        return np.eye(shape[-1])[random.integers(0, shape[-1], shape[:-1])]
    draw = {
        "real": random.normal,
        "count": lambda size: random.poisson(2.0, size).astype(float),
        "side": lambda size: random.choice([-1.0, 1.0], size),
        "share": lambda size: random.integers(0, 2, size).astype(float),
    }
    return draw[kind](size=shape)


class Task(NamedTuple):
    """A compiled model and its data."""

    model: Any
    x: Any
    y: list[Any]
    weights: list[Any] | None


def task(draw: st.DataObject) -> Task:
    """A model with one or two outputs, on rows or on masked sequences."""
    layers, choose = keras.layers, lambda *of: draw.draw(st.sampled_from(of))
    seed = draw.draw(st.integers(0, 2**16))
    random = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    sequences = draw.draw(st.booleans())
    regularizer = choose(None, keras.regularizers.L2(0.03))
    activity = choose(None, keras.regularizers.L2(0.02))
    inputs = layers.Input((T,), dtype="int32") if sequences else layers.Input((3,))
    hidden = layers.Embedding(4, 2, mask_zero=choose(True, False))(inputs) if sequences else inputs
    hidden = layers.Dense(3, "tanh", kernel_regularizer=regularizer, activity_regularizer=activity)(
        hidden
    )
    names = draw.draw(st.lists(st.sampled_from(sorted(HEADS)), min_size=1, max_size=2))
    outputs, losses, metrics, weighted, y = [], [], [], [], []
    for place, name in enumerate(names):
        head = HEADS[name]
        outputs.append(layers.Dense(3, head.activation, name=f"out{place}")(hidden))
        losses.append(choose(*head.losses))
        metrics.append(choose([], list(head.metrics)))
        weighted.append(choose([], list(head.metrics[:1])))
        y.append(targets(head.kind, random, (N, T, 3) if sequences else (N, 3)))
    model = keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])
    if len(outputs) == 1:
        losses, metrics, weighted = losses[0], metrics[0], weighted[0]  # type: ignore[assignment]
    model.compile(
        loss=losses,
        loss_weights=choose(None, [0.5, 2.0]) if len(outputs) > 1 else None,
        metrics=metrics,
        weighted_metrics=weighted,
        run_eagerly=True,
    )
    x = random.integers(0, 4, (N, T)) if sequences else random.normal(size=(N, 3))
    if sequences:
        x[:, 0] = 1
    # Keras itself cannot multiply weights of rows by losses or a mask of steps.
    shape = choose(None, (N, T) if sequences else (N,))
    weights = None if shape is None else [random.uniform(0.2, 2, shape) for _ in y]
    return Task(model, x, y, weights)


def alone(values: Any) -> Any:
    """As Keras takes the targets of a model with one output."""
    return values[0] if values is not None and len(values) == 1 else values


def evaluated(task: Task, rows: slice) -> dict[str, float]:
    y, weights = ([part[rows] for part in parts or []] for parts in (task.y, task.weights))
    found: dict[str, float] = task.model.evaluate(
        task.x[rows],
        alone(y),
        sample_weight=alone(weights) if task.weights else None,
        batch_size=N,
        verbose=0,
        return_dict=True,
    )
    return found


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


@settings(max_examples=1, deadline=None, phases=FIRST, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_few(data: st.DataObject) -> None:
    check(data)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, phases=FIRST, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_many(data: st.DataObject) -> None:
    check(data)


def check(data: st.DataObject) -> None:
    drawn = task(data)
    try:
        evaluated(drawn, slice(None))
    except Exception:  # noqa: BLE001 - of masks, losses and metrics that Keras itself cannot evaluate
        reject()
    held = slice(0, V)
    y, weights = ([part[held] for part in parts or []] for parts in (drawn.y, drawn.weights))
    held_out: tuple[Any, ...] = (drawn.x[held], alone(y))
    if drawn.weights:
        held_out += (alone(weights),)
    history = bridge.fit(
        drawn.model,
        drawn.x,
        alone(drawn.y),
        sample_weight=alone(drawn.weights),
        validation_data=held_out,
        restore="last",
        epochs=1,
        verbose=0,
    ).history
    wanted = evaluated(drawn, slice(None))
    wanted |= {f"val_{name}": value for name, value in evaluated(drawn, held).items()}
    assert wanted.keys() <= history.keys()
    for name, value in wanted.items():
        assert history[name][-1] == pytest.approx(value, rel=1e-6, abs=1e-12), name
