"""``bridge.verify`` finds agreement where there is some and says where there is none."""

from __future__ import annotations

import numpy as np
import pytest

import bridge
from bridge.layers import KerasLayer


@pytest.mark.parametrize("name", ["mlp", "mixed", "images", "tokens", "functional", "repeated"])
def test_agreement_layer_by_layer(name, build):
    model = build(name)
    found = bridge.verify(model)
    assert found.error < 5e-6
    assert all(row.error < 5e-6 for row in found.layers)
    assert len([row for row in found.layers if "/" not in row.layer]) == len(
        bridge.from_keras(model).module.nodes
    )
    assert len(str(found).splitlines()) == len(found.layers) + 1


def test_a_file_and_given_inputs(saved):
    assert bridge.verify(saved("mlp"), np.ones((3, 3))).error < 5e-6


def test_a_wrong_converter_is_found(keras):
    @keras.saving.register_keras_serializable("tests")
    class Halve(keras.layers.Layer):
        def call(self, x):
            return x / 2

    class Third(KerasLayer):
        def __call__(self, inputs, mask=None):
            return inputs / 3

    bridge.register_converter(Halve)(lambda config: Third())
    try:
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(4), Halve(name="wrong"), keras.layers.Dense(2)]
        )
        found = {row.layer: row.error for row in bridge.verify(model).layers}
        outer = keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(3, name="first"),
                model,
                keras.layers.ReLU(name="last"),
            ]
        )
        nested = {row.layer: row.error for row in bridge.verify(outer).layers}
    finally:
        bridge.unregister_converter(Halve)
    assert next(iter(nested)) == "first"
    assert list(nested)[-2:] == [model.name, "last"]
    assert nested[model.name] > 0.1
    assert {name.removeprefix(f"{model.name}/") for name in nested if "/" in name} == set(found)
    for errors, wrong in ((found, "wrong"), (nested, f"{model.name}/wrong")):
        errors.pop(model.name, None)
        assert errors.pop(wrong) == pytest.approx(1 / 3, rel=1e-5)
        assert max(errors.values()) < 1e-6
