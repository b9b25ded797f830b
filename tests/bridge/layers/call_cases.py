"""Functional models whose calls have more than one argument or output, and all cases of Functional
models together.
"""

from __future__ import annotations

from typing import Any

from tests.bridge.layers.graph_cases import ATTENTION, MERGING, Graph, inputs, masked, of_shapes


def _states(keras: Any, name: str, with_mask: bool = False, **options: Any) -> Any:
    tensors = inputs(keras, 2)
    front = masked(keras, tensors[0]) if with_mask else tensors[0]
    encoded, *states = getattr(keras.layers, name)(2, return_state=True, **options)(front)
    decoded = getattr(keras.layers, name)(2, return_sequences=True)(
        tensors[1], initial_state=states
    )
    return keras.Model(tensors, [encoded, *states, decoded])


def _both_outputs(keras: Any) -> Any:
    (tensor,) = inputs(keras, 1)
    layer = keras.layers.Bidirectional(
        keras.layers.LSTM(2, return_sequences=True, return_state=True), merge_mode=None
    )
    forward, backward, *states = layer(masked(keras, tensor))
    after = keras.layers.Bidirectional(keras.layers.LSTM(2))(forward, initial_state=states)
    return keras.Model(tensor, [forward, keras.layers.GRU(3)(backward), *states, after])


def _explicit_mask(keras: Any) -> Any:
    tensors = inputs(keras, 2)
    mask = keras.ops.any(tensors[1] < 0.5, axis=-1)
    return keras.Model(
        tensors,
        [
            keras.layers.LSTM(2)(tensors[0], mask=mask),
            keras.layers.GlobalAveragePooling1D()(tensors[0], mask=mask),
        ],
    )


def _masked_softmax(keras: Any) -> Any:
    tensors = inputs(keras, 2)
    return keras.Model(
        tensors, [keras.layers.Softmax(axis)(tensors[0], mask=tensors[1] < 0.5) for axis in (-1, 1)]
    )


def _shared(keras: Any) -> Any:
    layers = keras.layers
    first, second = inputs(keras, 2)
    shared = layers.LSTM(3, return_sequences=True)
    deep = inputs(keras, 2)
    inner = keras.Model(
        deep,
        [
            layers.Add()([layers.Dense(2)(deep[0]), layers.Dense(2)(deep[1])]),
            layers.Attention()(deep),
        ],
    )
    summed, attended = inner([shared(masked(keras, first)), shared(second)])
    again, _ = inner([shared(attended), first])
    return keras.Model([first, second], {"summed": layers.GRU(2)(summed), "again": again})


def _arithmetic(keras: Any) -> Any:
    first, second = inputs(keras, 2)
    ops = keras.ops
    total = 1.0 - (first + second) * 2.0 / (1.0 + ops.square(second)) - ops.exp(-first)
    return keras.Model(
        [first, second],
        [ops.tanh(total) + ops.mean(total, axis=1, keepdims=True), ops.maximum(first, 0.5)],
    )


def _deleted_masks(keras: Any) -> Any:
    """MultiHeadAttention deletes the masks of its inputs: of what reads them, the sum comes after
    it, some before.
    """
    layers = keras.layers
    (tensor,) = inputs(keras, 1)
    sequence = masked(keras, tensor)
    noisy = layers.Dropout(0.1)(sequence)  # at inference the very same tensor
    total = layers.Add()([sequence, layers.MultiHeadAttention(2, 3)(noisy, noisy)])
    early = layers.GRU(2)(layers.Dense(2)(layers.Dense(2)(layers.Dense(2)(sequence))))
    return keras.Model(tensor, [layers.GRU(2)(total), layers.LSTM(2)(sequence), early])


def _multi_output_chain(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            *inputs(keras, 1),
            layers.Bidirectional(layers.GRU(2), merge_mode=None),
            layers.Concatenate(),
        ]
    )


def _crossed(output_mode: str) -> Graph:
    def build(keras: Any) -> Any:
        tensors = of_shapes(keras, [(1,), (1,)])
        crossing = keras.layers.HashedCrossing(9, output_mode=output_mode)(
            [keras.ops.cast(100.0 * one, "int32") for one in tensors]
        )
        after = keras.layers.Dense(2) if output_mode == "one_hot" else keras.layers.Embedding(9, 2)
        return keras.Model(tensors, after(crossing))

    return Graph(build, label=output_mode)


CALLS = {
    "Softmax": [Graph(_masked_softmax, label="mask")],
    "HashedCrossing": [_crossed("one_hot"), _crossed("int")],
    "LSTM": [
        Graph(lambda keras: _states(keras, "LSTM"), label="states"),
        Graph(
            lambda keras: _states(keras, "LSTM", True, zero_output_for_mask=True),
            label="masked states",
        ),
        Graph(_explicit_mask, label="mask"),
    ],
    "GRU": [Graph(lambda keras: _states(keras, "GRU", go_backwards=True), label="states")],
    "SimpleRNN": [Graph(lambda keras: _states(keras, "SimpleRNN", True), label="states")],
    "Bidirectional": [
        Graph(_both_outputs, label="both outputs"),
        Graph(_multi_output_chain, label="in a Sequential"),
    ],
    "Functional": [
        Graph(_shared, label="shared"),
        Graph(_arithmetic, label="arithmetic"),
        Graph(_deleted_masks, label="deleted masks"),
    ],
}

GRAPHS: dict[str, list[Graph]] = MERGING | ATTENTION | CALLS
