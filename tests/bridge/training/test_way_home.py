"""A live model is read, built and bound once, whatever is done with it, and gets its weights back
through the variables that were read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest

import bridge
from bridge._src.formats import live
from bridge._src.module.binding import bind
from bridge._src.module.build import build
from lmjax._src.training.streaming.sources import find_source
from tests.bridge.counting import counted

layers = keras.layers
_READING = (live.read_description, build, bind)
_ONCE = {"read_description": 1, "build": 1, "bind": 1}


def _sequential() -> Any:
    return keras.Sequential(
        [keras.Input((2,)), layers.Dense(4, "tanh"), layers.Dense(1)], name="chain"
    )


def _functional() -> Any:
    start = keras.Input((2,))
    hidden = layers.Dense(4, "tanh", name="hidden")(start)
    return keras.Model(start, layers.Dense(1, name="end")(layers.Concatenate()([hidden, start])))


def _nested() -> Any:
    start = keras.Input((2,))
    return keras.Model(start, layers.Dense(1, name="end")(_sequential()(start)), name="around")


_MODELS = [_sequential, _functional, _nested]


@pytest.fixture(params=_MODELS, ids=lambda make: make.__name__.lstrip("_"))
def model(request: pytest.FixtureRequest) -> Any:
    keras.utils.set_random_seed(0)
    made = request.param()
    made.compile(loss="mse")
    return made


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(30, 2))
    return x, np.sin(x[:, :1])


def _bits(model: Any) -> list[bytes]:
    return [weight.tobytes() for weight in model.get_weights()]


@pytest.mark.slow
def test_a_fit_reads_its_model_once(model: Any, data: Any) -> None:
    before = _bits(model)
    with counted(*_READING) as calls:
        bridge.fit(model, *data, epochs=3, verbose=0)
    assert calls == _ONCE
    assert _bits(model) != before


def test_so_does_a_loop_of_ones_own(model: Any, data: Any) -> None:
    before = _bits(model)
    with counted(*_READING) as calls, bridge.Trainer(model) as trainer:
        for _ in range(8):
            trainer.step(*data)
        trainer.write_back()
        assert _bits(model) != before
        trainer.step(*data)
    assert calls == _ONCE


def test_and_to_keras_of_what_was_converted(model: Any) -> None:
    before = _bits(model)
    with counted(*_READING) as calls:
        converted = bridge.from_keras(bridge.from_keras(model), "float64")
        bridge.to_keras(converted, model)
    assert calls == _ONCE
    assert _bits(model) == before


def test_foreign_params_make_one_more_reading(model: Any) -> None:
    converted = bridge.from_keras(model)
    changed = jax.tree.map(lambda leaf: leaf + 1, converted.params)
    with counted(*_READING) as calls:
        bridge.to_keras(changed, model)
    assert calls == _ONCE
    other = keras.models.clone_model(model)
    with counted(*_READING) as calls:
        bridge.to_keras(bridge.from_keras(model), other)
    assert calls == dict.fromkeys(_ONCE, 2)
    assert _bits(other) == _bits(model)


def _freeze(model: Any) -> None:
    model.layers[-1].trainable = False


def _add(model: Any) -> None:
    model.add(layers.Dense(1))


def _take(model: Any) -> None:
    model.pop()


def _build_anew(model: Any) -> None:
    layer = model.layers[-1]
    layer._tracker.unlock()
    for variable in list(layer._trainable_variables):
        layer._untrack_variable(variable)
    layer.build((None, 4))


def _adapt(model: Any) -> None:
    model.layers[-1].enable_lora(1)


@pytest.mark.slow
@pytest.mark.parametrize("change", [_freeze, _add, _take, _build_anew, _adapt])
def test_a_model_that_was_changed_meanwhile_is_refused(
    change: Callable[[Any], None], data: Any
) -> None:
    model = _sequential()
    model.compile(loss="mse")
    names = set(bridge.from_keras(model).params)
    after: list[list[bytes]] = []

    def callback(epoch: int, logs: Any) -> None:
        if epoch == 1:
            change(model)
            after.append(_bits(model))

    refused = r"'chain' was changed since.*nothing was wri"
    with pytest.raises(bridge.ConversionError, match=refused) as caught:
        bridge.fit(model, *data, epochs=3, verbose=0, callbacks=[callback])
    assert [_bits(model)] == after
    # What was trained is not lost.
    result: Any = caught.value.result  # type: ignore[attr-defined]
    assert len(result.history["loss"]) == 3
    assert set(result.params) == names
    assert "result.params" in "".join(caught.value.__notes__)


@pytest.mark.slow
def test_a_model_all_of_whose_layers_are_new_is_another(data: Any) -> None:
    model = _sequential()
    model.compile(loss="mse")

    def callback(epoch: int, logs: Any) -> None:
        for _ in range(2):
            model.pop()
        for layer in _sequential().layers:
            model.add(layer)

    with pytest.raises(bridge.ConversionError, match="was changed since"):
        bridge.fit(model, *data, epochs=1, verbose=0, callbacks=[callback])


def test_shapes_are_checked_before_anything_is_written(model: Any) -> None:
    converted, before = bridge.from_keras(model), _bits(model)
    cut = replace(converted, params=jax.tree.map(lambda leaf: leaf[..., :0] + 1, converted.params))
    with pytest.raises(bridge.ConversionError, match="expected"):
        bridge.to_keras(cut, model)
    assert _bits(model) == before


def test_values_set_meanwhile_are_those_that_come_back(model: Any) -> None:
    """Variables keep their identity when they are assigned to, and the old values are read last."""
    converted = bridge.from_keras(model)
    model.set_weights([weight + 1 for weight in model.get_weights()])
    bridge.to_keras(converted, model)
    for entry in converted.table:
        assert np.asarray(entry.handle).tobytes() == _leaf(converted.params, entry.path).tobytes()


def _leaf(params: Any, path: tuple[str, ...]) -> np.ndarray:
    for name in path:
        params = params[name]
    return np.asarray(params)


@pytest.mark.slow
def test_whether_data_are_streamed_is_asked_once_for_each(data: Any, tmp_path: Path) -> None:
    model = _sequential()
    model.compile(loss="mse")
    x, y = data
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    batches = [(x[:10], y[:10]), (x[10:], y[10:])]
    fits: list[tuple[tuple[Any, ...], dict[str, Any], int]] = [
        ((x, y), {}, 1),
        ((x, y), {"validation_split": 0.5}, 1),
        ((x, y), {"validation_data": (x, y)}, 2),
        ((x, y), {"validation_data": batches, "batch_size": 10}, 2),
        ((mapped, y), {}, 1),
        ((batches,), {}, 1),
    ]
    for given, options, times in fits:
        with counted(find_source) as calls:
            bridge.fit(model, *given, epochs=1, verbose=0, **options)
        assert calls == {"find_source": times}, options
