"""Options that would change the function and are not supported are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from bridge._src.description.errors import LayerRefused
from bridge._src.layers.nested import convert
from tests.bridge.layers.cases import layer


@pytest.mark.parametrize(
    ("serialized", "reason"),
    [
        (
            layer("SeparableConv1D", filters=1, kernel_size=(2,), lora_rank=4),
            "lora_rank=4 is unknown",
        ),
        (
            layer(
                "Embedding", input_dim=2, output_dim=2, quantization_config={"class_name": "Int8"}
            ),
            "quantized",
        ),
        (
            layer("Dense", units=2, activation="threshold"),
            "'threshold' of your own is none of keras.activations",
        ),
        (
            layer(
                "Dense",
                units=2,
                activation={"class_name": "function", "config": "mine", "registered_name": "mine"},
            ),
            "'mine'",
        ),
        (layer("Dense", units=2, activation=layer("Lambda")), "inner layer Lambda"),
        (layer("LSTM", units=2, stateful=True), "stateful"),
        (
            layer(
                "RNN",
                cell=layer("StackedRNNCells", cells=[layer("GRUCell", units=2)]),
                return_state=True,
            ),
            "return_state",
        ),
        (layer("RNN", cell=layer("Dense", units=2)), "not a recurrent cell"),
        (layer("RNN", cell=layer("MyCell", units=2)), "inner layer MyCell"),
        (layer("Conv1D", filters=1, kernel_size=(2,), padding="reflect"), "padding='reflect'"),
        (layer("UpSampling2D", size=(2, 2), interpolation="area"), "interpolation='area'"),
        (layer("Dense", units=2, twist=3), "twist=3 is unknown"),
        (layer("LSTM", units=2, peephole=True), "peephole=True is unknown"),
    ],
)
def test_refused_option(serialized: dict[str, Any], reason: str) -> None:
    with pytest.raises(LayerRefused, match=reason):
        convert(serialized)


def test_equal_configs_give_equal_modules() -> None:
    """Compiled functions are shared between conversions of equal layers."""
    serialized = layer(
        "Conv2D",
        filters=3,
        kernel_size=[2, 2],
        strides=[1, 1],
        activation=layer("PReLU", shared_axes=[1, 2]),
    )
    one, other = convert(serialized), convert(serialized)
    assert one == other
    assert hash(one) == hash(other)
