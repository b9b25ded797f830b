"""Cases of the recurrent layers."""

from __future__ import annotations

from typing import Any

from tests.bridge.layers.cases import Case, layer

SHAPE = (5, 3)


def _cases(options: list[dict[str, Any]], masked: bool = False) -> list[Case]:
    return [Case({"units": 2, **o}, SHAPE, masked=masked) for o in options]


WEIGHTED = {"activation": layer("PReLU"), "return_sequences": True}
GATES = {
    "recurrent_activation": "hard_sigmoid",
    "activation": "softsign",
    "return_sequences": True,
    "go_backwards": True,
}

STACK = layer(
    "StackedRNNCells",
    cells=[layer("LSTMCell", units=2), layer("GRUCell", units=3), layer("LSTMCell", units=2)],
)

RECURRENT = {
    "SimpleRNN": _cases(
        [
            {},
            {"return_sequences": True},
            {"return_sequences": True, "go_backwards": True, "activation": "relu"},
            {"go_backwards": True, "use_bias": False},
            {"dropout": 0.2, "recurrent_dropout": 0.3, "seed": 4, "unroll": True},
            {"activation": layer("LeakyReLU", negative_slope=0.2)},
            WEIGHTED,
        ]
    )
    + _cases(
        [
            {},
            {"return_sequences": True},
            {"return_sequences": True, "zero_output_for_mask": True},
            {"zero_output_for_mask": True, "go_backwards": True},
            {"return_sequences": True, "go_backwards": True, "zero_output_for_mask": True},
        ],
        masked=True,
    ),
    "LSTM": _cases(
        [{}, GATES, WEIGHTED, {"use_bias": False}, {"unit_forget_bias": False, "dropout": 0.1}]
    )
    + _cases([{}, {"return_sequences": True}], masked=True),
    "GRU": _cases(
        [
            {},
            GATES,
            WEIGHTED,
            {"reset_after": False},
            {"reset_after": False, "use_bias": False, "return_sequences": True},
            {"use_bias": False},
        ]
    )
    + _cases([{}, {"return_sequences": True}], masked=True),
    "RNN": [
        Case({"cell": layer("SimpleRNNCell", units=2)}, SHAPE, label="SimpleRNNCell"),
        Case(
            {"cell": layer("LSTMCell", units=2), "return_sequences": True}, SHAPE, label="LSTMCell"
        ),
        Case(
            {"cell": layer("GRUCell", units=2, reset_after=False)},
            SHAPE,
            masked=True,
            label="GRUCell",
        ),
        Case({"cell": STACK}, SHAPE, masked=True, label="stack"),
        Case({"cell": STACK, "return_sequences": True, "go_backwards": True}, SHAPE, label="stack"),
        Case(
            {"cell": STACK, "return_sequences": True, "zero_output_for_mask": True},
            SHAPE,
            masked=True,
            label="stack",
        ),
    ],
}
