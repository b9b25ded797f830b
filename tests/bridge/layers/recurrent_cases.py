"""Cases of the recurrent layers."""

from __future__ import annotations

from typing import Any

from tests.bridge.layers.cases import Case, layer

SHAPE = (5, 3)


def _recurrent(*extra: dict[str, Any]) -> list[Case]:
    options: list[dict[str, Any]] = [
        {},
        {"return_sequences": True},
        {"return_sequences": True, "go_backwards": True, "activation": "relu"},
        {"go_backwards": True, "use_bias": False},
        {"dropout": 0.2, "recurrent_dropout": 0.3, "seed": 4, "unroll": True},
        {"activation": layer("LeakyReLU", negative_slope=0.2)},
    ]
    masked: list[dict[str, Any]] = [
        {},
        {"return_sequences": True},
        {"return_sequences": True, "zero_output_for_mask": True},
        {"zero_output_for_mask": True, "go_backwards": True},
        {"return_sequences": True, "go_backwards": True, "zero_output_for_mask": True},
    ]
    plain = [Case({"units": 2, **o}, SHAPE) for o in (*options, *extra)]
    return plain + [Case({"units": 2, **o}, SHAPE, masked=True) for o in masked]


GATES = {"recurrent_activation": "hard_sigmoid", "activation": "softsign"}
WEIGHTED = {"activation": layer("PReLU"), "return_sequences": True}

RECURRENT = {
    "SimpleRNN": _recurrent(WEIGHTED),
    "LSTM": _recurrent(GATES, WEIGHTED, {"unit_forget_bias": False}),
    "GRU": _recurrent(
        GATES,
        WEIGHTED,
        {"reset_after": False},
        {"reset_after": False, "use_bias": False, "return_sequences": True},
        {"reset_after": True, "use_bias": False},
    ),
    "RNN": [
        Case({"cell": layer("SimpleRNNCell", units=2)}, SHAPE, label="SimpleRNNCell"),
        Case({"cell": layer("LSTMCell", units=2), "return_sequences": True}, SHAPE, label="LSTMCell"),
        Case({"cell": layer("GRUCell", units=2, reset_after=False)}, SHAPE, masked=True, label="GRUCell"),
    ],
}
