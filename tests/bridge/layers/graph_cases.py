"""Functional models that run the layers which take or return several tensors, and calls with more than one argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tests.bridge.layers.cases import DOUBLE

#: Steps of the sequences, and their features.
TIME, FEATURES = 4, 3


class Graph(NamedTuple):
    """A model made of layers of one class.

    Attributes:
        build: Function of ``keras`` that makes the model; sequences with a mask come from :func:`masked`.
        double: Largest relative difference allowed in float64.
        label: What is special about it.
    """

    build: Callable[[Any], Any]
    double: float = DOUBLE
    label: str = ""


def inputs(keras: Any, count: int = 2, shape: tuple[int, ...] = (TIME, FEATURES)) -> list[Any]:
    return of_shapes(keras, [shape] * count)


def of_shapes(keras: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Inputs in the dtype of the policy."""
    return [keras.Input(shape, name=f"input_{number}", dtype=keras.config.dtype_policy().name) for number, shape in enumerate(shapes)]


def masked(keras: Any, tensor: Any) -> Any:
    """``tensor`` with the steps masked whose features are all 0."""
    return keras.layers.Masking()(tensor)


def _merge(name: str, count: int = 2, with_mask: tuple[int, ...] = (), shapes: Any = None, **options: Any) -> Graph:
    def build(keras: Any) -> Any:
        tensors = inputs(keras, count) if shapes is None else of_shapes(keras, shapes)
        branches = [masked(keras, tensor) if number in with_mask else tensor for number, tensor in enumerate(tensors)]
        merged = getattr(keras.layers, name)(**options)(branches)
        after = [keras.layers.GRU(2, return_sequences=True)(merged)] if with_mask and name != "Dot" else []
        return keras.Model(tensors, [merged, *after])

    return Graph(build, label="-".join([*(f"masked{number}" for number in with_mask), *map(str, options.values()), str(shapes or count)]))


def _merges(name: str, most: int = 3) -> list[Graph]:
    return [
        _merge(name, most),
        _merge(name, 2, (0,)),
        _merge(name, 2, (0, 1)),
        _merge(name, shapes=[(TIME, FEATURES), (FEATURES,)]),
        _merge(name, shapes=[(1, FEATURES), (TIME, 1)]),
    ]


MERGING = {
    "Add": _merges("Add"),
    "Subtract": _merges("Subtract", 2),
    "Multiply": [*_merges("Multiply"), _merge("Multiply", 3, (0, 2))],
    "Average": _merges("Average"),
    "Maximum": _merges("Maximum"),
    "Minimum": _merges("Minimum"),
    "Concatenate": [
        _merge("Concatenate", 3),
        _merge("Concatenate", 3, axis=1),
        _merge("Concatenate", 2, (0,), axis=1),
        _merge("Concatenate", 2, (0, 1)),
        _merge("Concatenate", shapes=[(2,), (3,)], axis=-1),
    ],
    "Dot": [
        _merge("Dot", axes=2),
        _merge("Dot", axes=(1, 1), normalize=True),
        _merge("Dot", axes=-1, shapes=[(3,), (3,)]),
        _merge("Dot", axes=(2, 1), shapes=[(TIME, 2), (2, 5)]),
        _merge("Dot", axes=(1, 2), shapes=[(2,), (4, 2)]),
        _merge("Dot", axes=(2, 1), shapes=[(4, 2, 3), (2,)]),
        _merge("Dot", axes=2, normalize=True, with_mask=(0, 1)),
    ],
}


def _attention(name: str, with_mask: tuple[int, ...] = (), count: int = 2, call: dict[str, Any] | None = None, **options: Any) -> Graph:
    def build(keras: Any) -> Any:
        tensors = inputs(keras, count)
        branches = [masked(keras, tensor) if number in with_mask else tensor for number, tensor in enumerate(tensors)]
        attended = getattr(keras.layers, name)(**options)(branches, **(call or {}))
        outputs = list(attended) if isinstance(attended, (tuple, list)) else [attended]
        return keras.Model(tensors, [*outputs, keras.layers.GRU(2)(outputs[0])])

    return Graph(
        build, label="-".join([*(f"masked{number}" for number in with_mask), *(call or {}), *map(str, options.values()), str(count)])
    )


def _heads(
    name: str, with_mask: tuple[int, ...] = (), shape: tuple[int, ...] = (TIME, FEATURES), call: Any = None, **options: Any
) -> Graph:
    """``call`` receives query, value and a third tensor, and returns positional and named arguments."""

    def build(keras: Any) -> Any:
        tensors = inputs(keras, 3, shape)
        branches = [masked(keras, tensor) if number in with_mask else tensor for number, tensor in enumerate(tensors)]
        args, named = (branches[:2], {}) if call is None else call(keras, *branches)
        outputs = getattr(keras.layers, name)(**options)(*args, **named)
        outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        used = [tensor for tensor in tensors if call is not None or tensor is not tensors[2]]
        after = [keras.layers.GRU(2)(outputs[0])] if 0 in with_mask else []
        return keras.Model(used, [*outputs, *after])

    return Graph(
        build, label="-".join([*(f"masked{number}" for number in with_mask), *map(str, options.values()), getattr(call, "__name__", "")])
    )


def key(keras: Any, query: Any, value: Any, other: Any) -> Any:
    return (), {"query": query, "value": value, "key": other}


def causal(keras: Any, query: Any, value: Any, other: Any) -> Any:
    return (query, value, other), {"use_causal_mask": True}


def scores(keras: Any, query: Any, value: Any, other: Any) -> Any:
    return (query, value), {"key": other, "return_attention_scores": True, "use_causal_mask": True}


def attention_mask(keras: Any, query: Any, value: Any, other: Any) -> Any:
    return (query, value), {"attention_mask": keras.ops.matmul(other, keras.ops.transpose(query, (0, 2, 1))) > 0}


MHA = {"num_heads": 2, "key_dim": 3}
GQA = {"num_query_heads": 4, "num_key_value_heads": 2, "head_dim": 3}

ATTENTION = {
    "Attention": [
        _attention("Attention"),
        _attention("Attention", count=3, use_scale=True),
        _attention("Attention", score_mode="concat", use_scale=True),
        _attention("Attention", score_mode="concat", call={"use_causal_mask": True}),
        _attention("Attention", (0,)),
        _attention("Attention", (1,), call={"return_attention_scores": True}),
        _attention("Attention", (0, 1), count=3, call={"use_causal_mask": True}),
    ],
    "AdditiveAttention": [
        _attention("AdditiveAttention"),
        _attention("AdditiveAttention", (0, 1), use_scale=False),
        _attention("AdditiveAttention", (1,), count=3, call={"use_causal_mask": True}),
    ],
    "MultiHeadAttention": [
        _heads("MultiHeadAttention", **MHA),
        _heads("MultiHeadAttention", call=key, **MHA, value_dim=2, output_shape=5, use_bias=False),
        _heads("MultiHeadAttention", call=causal, **MHA, use_gate=True),
        _heads("MultiHeadAttention", call=scores, **MHA, value_dim=4),
        _heads("MultiHeadAttention", call=attention_mask, **MHA, dropout=0.2),
        _heads("MultiHeadAttention", (0,), **MHA),
        _heads("MultiHeadAttention", (0, 1), **MHA, dropout=0.2),
        _heads("MultiHeadAttention", (1, 2), call=key, **MHA),
        _heads("MultiHeadAttention", (0, 1), call=causal, **MHA, sliding_window=2),
        _heads("MultiHeadAttention", shape=(2, 3, 4), **MHA, attention_axes=(1, 2)),
        _heads("MultiHeadAttention", shape=(2, 3, 4), **MHA, attention_axes=2, output_shape=(2, 2)),
    ],
    "GroupQueryAttention": [
        _heads("GroupQueryAttention", **GQA),
        _heads("GroupQueryAttention", call=key, **GQA, use_bias=False, use_gate=True),
        _heads("GroupQueryAttention", (0, 1), call=causal, **GQA),
        _heads("GroupQueryAttention", call=scores, **GQA, sliding_window=3),
        _heads("GroupQueryAttention", (1,), **GQA, dropout=0.1),
    ],
}


def _states(keras: Any, name: str, with_mask: bool = False, **options: Any) -> Any:
    tensors = inputs(keras, 2)
    front = masked(keras, tensors[0]) if with_mask else tensors[0]
    encoded, *states = getattr(keras.layers, name)(2, return_state=True, **options)(front)
    decoded = getattr(keras.layers, name)(2, return_sequences=True)(tensors[1], initial_state=states)
    return keras.Model(tensors, [encoded, *states, decoded])


def _both_outputs(keras: Any) -> Any:
    (tensor,) = inputs(keras, 1)
    layer = keras.layers.Bidirectional(keras.layers.LSTM(2, return_sequences=True, return_state=True), merge_mode=None)
    forward, backward, *states = layer(masked(keras, tensor))
    after = keras.layers.Bidirectional(keras.layers.LSTM(2))(forward, initial_state=states)
    return keras.Model(tensor, [forward, keras.layers.GRU(3)(backward), *states, after])


def _explicit_mask(keras: Any) -> Any:
    tensors = inputs(keras, 2)
    mask = keras.ops.any(tensors[1] < 0.5, axis=-1)
    return keras.Model(tensors, [keras.layers.LSTM(2)(tensors[0], mask=mask), keras.layers.GlobalAveragePooling1D()(tensors[0], mask=mask)])


def _shared(keras: Any) -> Any:
    layers = keras.layers
    first, second = inputs(keras, 2)
    shared = layers.LSTM(3, return_sequences=True)
    deep = inputs(keras, 2)
    inner = keras.Model(deep, [layers.Add()([layers.Dense(2)(deep[0]), layers.Dense(2)(deep[1])]), layers.Attention()(deep)])
    summed, attended = inner([shared(masked(keras, first)), shared(second)])
    again, _ = inner([shared(attended), first])
    return keras.Model([first, second], {"summed": layers.GRU(2)(summed), "again": again})


def _arithmetic(keras: Any) -> Any:
    first, second = inputs(keras, 2)
    ops = keras.ops
    total = 1.0 - (first + second) * 2.0 / (1.0 + ops.square(second)) - ops.exp(-first)
    return keras.Model([first, second], [ops.tanh(total) + ops.mean(total, axis=1, keepdims=True), ops.maximum(first, 0.5)])


def _deleted_masks(keras: Any) -> Any:
    """MultiHeadAttention deletes the masks of its inputs: of what reads them, the sum comes after it, some before."""
    layers = keras.layers
    (tensor,) = inputs(keras, 1)
    sequence = masked(keras, tensor)
    noisy = layers.Dropout(0.1)(sequence)  # at inference the very same tensor
    total = layers.Add()([sequence, layers.MultiHeadAttention(2, 3)(noisy, noisy)])
    early = layers.GRU(2)(layers.Dense(2)(layers.Dense(2)(layers.Dense(2)(sequence))))
    return keras.Model(tensor, [layers.GRU(2)(total), layers.LSTM(2)(sequence), early])


def _multi_output_chain(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([*inputs(keras, 1), layers.Bidirectional(layers.GRU(2), merge_mode=None), layers.Concatenate()])


CALLS = {
    "LSTM": [
        Graph(lambda keras: _states(keras, "LSTM"), label="states"),
        Graph(lambda keras: _states(keras, "LSTM", True, zero_output_for_mask=True), label="masked states"),
        Graph(_explicit_mask, label="mask"),
    ],
    "GRU": [Graph(lambda keras: _states(keras, "GRU", go_backwards=True), label="states")],
    "SimpleRNN": [Graph(lambda keras: _states(keras, "SimpleRNN", True), label="states")],
    "Bidirectional": [Graph(_both_outputs, label="both outputs"), Graph(_multi_output_chain, label="in a Sequential")],
    "Functional": [
        Graph(_shared, label="shared"),
        Graph(_arithmetic, label="arithmetic"),
        Graph(_deleted_masks, label="deleted masks"),
    ],
}

GRAPHS: dict[str, list[Graph]] = MERGING | ATTENTION | CALLS
