"""Layers that only prepare data are applied to it before the fit, outside of the function whose
Jacobian is formed.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="some of the layers need it")

import bridge
from bridge._src.layers.preprocessing.lookups import Hashing
from bridge._src.training.preparation import preparation_of
from lmjax._src.training.data import InMemory, data_of

L = keras.layers
RNG = np.random.default_rng(0)
X = {"words": RNG.integers(0, 9999, (60, 3)), "sizes": RNG.normal(size=(60, 2))}
Y = np.sin(X["sizes"].sum(axis=1, keepdims=True)) + X["words"].sum(axis=1, keepdims=True) % 2


def _model(output_mode: str = "int") -> Any:
    words, sizes = keras.Input((3,), dtype="int32", name="words"), keras.Input((2,), name="sizes")
    hashed = L.Hashing(8, output_mode=output_mode)(words)
    bins = L.Discretization(bin_boundaries=[-1.0, 0.0, 1.0])(L.Rescaling(2.0)(sizes))
    embedded = L.Flatten()(L.Embedding(8, 2)(hashed)) if output_mode == "int" else hashed
    merged = L.Concatenate()(
        [embedded, L.Flatten()(L.Embedding(4, 1)(bins)), L.Dense(3, "tanh")(sizes)]
    )
    model = keras.Model([words, sizes], L.Dense(1)(merged))
    model.compile(loss="mse")
    return model


def _feed(keys: Any = slice(None)) -> list[np.ndarray]:
    return [X[name][keys] for name in ("words", "sizes")]


@pytest.mark.slow
def test_the_two_parts_are_the_model() -> None:
    model = _model()
    whole = bridge.from_keras(model, "float64")
    parts = preparation_of(whole, InMemory(_feed(), Y))
    assert parts is not None
    assert {type(layer) for layer in parts.ahead.layers} > {Hashing}
    assert not {type(layer) for layer in parts.model.module.layers} & {Hashing}
    np.testing.assert_array_equal(
        parts.model(whole.params, parts(_feed())), whole(whole.params, _feed())
    )


def test_what_would_grow_or_is_streamed_stays_in_the_step() -> None:
    plain = bridge.from_keras(keras.Sequential([keras.Input((2,)), L.Dense(1)]))
    assert preparation_of(plain, InMemory(X["sizes"], Y)) is None
    batches = [
        (tuple(_feed(slice(start, start + 20))), Y[start : start + 20]) for start in (0, 20, 40)
    ]
    grown = bridge.from_keras(_model("multi_hot"))
    assert preparation_of(grown, InMemory(_feed(), Y)) is None
    assert preparation_of(bridge.from_keras(_model()), data_of(batches)) is None


@pytest.mark.slow
@pytest.mark.parametrize("output_mode", ["int", pytest.param("multi_hot", marks=pytest.mark.slow)])
def test_a_fit_ends_at_the_loss_of_evaluate(output_mode: str) -> None:
    model = _model(output_mode)
    before = model.evaluate(_feed(), Y, verbose=0)
    history = bridge.fit(
        model, X, Y, epochs=8, verbose=0, validation_data=(_feed(slice(20)), Y[:20])
    )
    after = model.evaluate(_feed(), Y, verbose=0)
    assert after < 0.5 * before
    assert after == pytest.approx(history.history["loss"][history.best_epoch], rel=1e-4)
    assert model.evaluate(_feed(slice(20)), Y[:20], verbose=0) == pytest.approx(
        history.history["val_loss"][history.best_epoch], rel=1e-4
    )
