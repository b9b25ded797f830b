"""Cases of the layers around other layers, and of layers with adapters around their weights."""

from __future__ import annotations

from typing import Any

from tests.bridge.layers.cases import SINGLE, Case, layer

SHAPE = (4, 3)


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    """A serialized Sequential."""
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "inner", "layers": list(layers)},
        "registered_name": None,
    }


def named(class_name: str, name: str, **options: Any) -> dict[str, Any]:
    return layer(class_name, name=name, **options)


def _bidirectional(
    cell: str,
    masked: bool = False,
    merge_mode: str | None = "concat",
    backward: Any = None,
    **options: Any,
) -> Case:
    config = {"layer": layer(cell, units=2, **options), "merge_mode": merge_mode}
    if backward is not None:
        config["backward_layer"] = backward
    return Case(config, SHAPE, masked=masked, label=f"{cell}-{merge_mode}")


WRAPPERS = {
    "TimeDistributed": [
        Case({"layer": layer("Dense", units=2, activation="tanh")}, SHAPE),
        Case({"layer": layer("Dense", units=2)}, SHAPE, masked=True),
        Case({"layer": layer("LSTM", units=2)}, (2, 4, 3), masked=True, label="LSTM"),
        Case({"layer": layer("GlobalAveragePooling1D")}, (2, 4, 3), label="pooling"),
        Case({"layer": layer("Conv2D", filters=2, kernel_size=2)}, (2, 3, 4, 2), label="images"),
        Case({"layer": layer("BatchNormalization")}, SHAPE, masked=True, label="statistics"),
        Case(
            {
                "layer": model(
                    named("Dense", "one", units=3, activation="tanh"),
                    named("Dense", "two", units=2),
                )
            },
            SHAPE,
            label="model",
        ),
    ],
    "Bidirectional": [
        _bidirectional("LSTM"),
        _bidirectional("GRU", merge_mode="sum", return_sequences=True),
        _bidirectional("SimpleRNN", merge_mode="mul", go_backwards=False),
        _bidirectional(
            "LSTM", merge_mode="ave", return_sequences=True, recurrent_activation="hard_sigmoid"
        ),
        _bidirectional("LSTM", True, return_sequences=True),
        _bidirectional("GRU", True),
        _bidirectional("SimpleRNN", True, "ave", return_sequences=True),
        _bidirectional("SimpleRNN", True, "mul", return_sequences=True),
        _bidirectional(
            "LSTM",
            True,
            "sum",
            layer("GRU", units=2, return_sequences=True, go_backwards=True),
            return_sequences=True,
        ),
        _bidirectional("GRU", backward=layer("LSTM", units=3, go_backwards=True, use_bias=False)),
        Case(
            {"layer": layer("RNN", cell=layer("GRUCell", units=2), return_sequences=True)},
            SHAPE,
            masked=True,
            label="RNN",
        ),
    ],
    "SpectralNormalization": [
        Case({"layer": layer("Dense", units=2)}, SHAPE),
        Case({"layer": layer("Conv1D", filters=2, kernel_size=2), "power_iterations": 2}, SHAPE),
        Case(
            {"layer": layer("Embedding", input_dim=5, output_dim=2)}, (4,), "tokens", smooth=False
        ),
    ],
    "Pipeline": [
        Case(
            {
                "layers": [
                    layer("Rescaling", scale=0.5, offset=0.1),
                    layer("Dense", units=2),
                    layer("Dense", units=3),
                ]
            },
            SHAPE,
        ),
        Case(
            {"layers": [layer("Masking"), layer("LSTM", units=2), layer("Dense", units=3)]},
            SHAPE,
            "rows",
        ),
    ],
}


def _lora(options: dict[str, Any], shape: tuple[int, ...], inputs: str = "normal") -> Case:
    # Keras keeps the two factors in float32, whatever the policy
    return Case(
        {"lora_rank": 2, "lora_alpha": 3.0} | options, shape, inputs, double=SINGLE, label="LoRA"
    )


ADAPTED = {
    "Dense": [
        _lora({"units": 3}, SHAPE),
        _lora({"units": 3, "use_bias": False, "lora_rank": 1, "lora_alpha": None}, SHAPE),
    ],
    "EinsumDense": [
        _lora({"equation": "abc,cd->abd", "output_shape": (None, 5), "bias_axes": "d"}, SHAPE)
    ],
    "Embedding": [_lora({"input_dim": 5, "output_dim": 3}, (4,), "tokens")],
    "Conv1D": [_lora({"filters": 3, "kernel_size": 2}, SHAPE)],
    "Conv2D": [_lora({"filters": 2, "kernel_size": 2, "use_bias": False}, (5, 6, 2))],
}
