"""Functional models that run the layers which take several tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tests.bridge.layers.cases import DOUBLE

#: Steps of the sequences, and their features.
TIME, FEATURES = 4, 3


class Graph(NamedTuple):
    """A model made of layers of one class.

    Attributes:
        build: Function of ``keras`` that makes the model; sequences with a mask come from
            :func:`masked`.
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
    return [
        keras.Input(shape, name=f"input_{number}", dtype=keras.config.dtype_policy().name)
        for number, shape in enumerate(shapes)
    ]


def masked(keras: Any, tensor: Any) -> Any:
    """``tensor`` with the steps masked whose features are all 0."""
    return keras.layers.Masking()(tensor)


def _merge(
    name: str, count: int = 2, with_mask: tuple[int, ...] = (), shapes: Any = None, **options: Any
) -> Graph:
    def build(keras: Any) -> Any:
        tensors = inputs(keras, count) if shapes is None else of_shapes(keras, shapes)
        branches = [
            masked(keras, tensor) if number in with_mask else tensor
            for number, tensor in enumerate(tensors)
        ]
        merged = getattr(keras.layers, name)(**options)(branches)
        after = (
            [keras.layers.SimpleRNN(2, return_sequences=True)(merged)]
            if with_mask and name != "Dot"
            else []
        )
        return keras.Model(tensors, [merged, *after])

    return Graph(
        build,
        label="-".join(
            [
                *(f"masked{number}" for number in with_mask),
                *map(str, options.values()),
                str(shapes or count),
            ]
        ),
    )


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


def _attention(
    name: str,
    with_mask: tuple[int, ...] = (),
    count: int = 2,
    call: dict[str, Any] | None = None,
    **options: Any,
) -> Graph:
    def build(keras: Any) -> Any:
        tensors = inputs(keras, count)
        branches = [
            masked(keras, tensor) if number in with_mask else tensor
            for number, tensor in enumerate(tensors)
        ]
        attended = getattr(keras.layers, name)(**options)(branches, **(call or {}))
        outputs = list(attended) if isinstance(attended, (tuple, list)) else [attended]
        return keras.Model(tensors, [*outputs, keras.layers.SimpleRNN(2)(outputs[0])])

    return Graph(
        build,
        label="-".join(
            [
                *(f"masked{number}" for number in with_mask),
                *(call or {}),
                *map(str, options.values()),
                str(count),
            ]
        ),
    )


def _heads(
    name: str,
    with_mask: tuple[int, ...] = (),
    shape: tuple[int, ...] = (TIME, FEATURES),
    call: Any = None,
    **options: Any,
) -> Graph:
    """``call`` receives query, value and a third tensor, and returns positional and named
    arguments.
    """

    def build(keras: Any) -> Any:
        tensors = inputs(keras, 3, shape)
        branches = [
            masked(keras, tensor) if number in with_mask else tensor
            for number, tensor in enumerate(tensors)
        ]
        args, named = (branches[:2], {}) if call is None else call(keras, *branches)
        outputs = getattr(keras.layers, name)(**options)(*args, **named)
        outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        used = [tensor for tensor in tensors if call is not None or tensor is not tensors[2]]
        after = [keras.layers.SimpleRNN(2)(outputs[0])] if 0 in with_mask else []
        return keras.Model(used, [*outputs, *after])

    return Graph(
        build,
        label="-".join(
            [
                *(f"masked{number}" for number in with_mask),
                *map(str, options.values()),
                getattr(call, "__name__", ""),
            ]
        ),
    )


def key(keras: Any, query: Any, value: Any, other: Any) -> Any:
    return (), {"query": query, "value": value, "key": other}


def causal(keras: Any, query: Any, value: Any, other: Any) -> Any:
    return (query, value, other), {"use_causal_mask": True}


def scores(keras: Any, query: Any, value: Any, other: Any) -> Any:
    return (query, value), {"key": other, "return_attention_scores": True, "use_causal_mask": True}


def attention_mask(keras: Any, query: Any, value: Any, other: Any) -> Any:
    return (query, value), {
        "attention_mask": keras.ops.matmul(other, keras.ops.transpose(query, (0, 2, 1))) > 0
    }


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
