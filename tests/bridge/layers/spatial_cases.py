"""Cases of the convolution and pooling layers."""

from __future__ import annotations

from typing import Any

from tests.bridge.layers.cases import FIRST, Case, layer

# With channels_first the last spatial size must not equal the number of filters: there Keras'
# TensorFlow backend (keras.ops.add) takes the last axis for the channels and adds the bias along
# the width.
SHAPES = {1: (9, 2), 2: (6, 7, 2), 3: (3, 4, 5, 2)}
SHAPES_FIRST = {rank: (shape[-1], *shape[:-1]) for rank, shape in SHAPES.items()}


def _conv(rank: int) -> list[Case]:
    shape, first = SHAPES[rank], SHAPES_FIRST[rank]
    return [
        Case({"filters": 3, "kernel_size": 2}, shape),
        Case(
            {
                "filters": 2,
                "kernel_size": (3, 2, 1)[:rank],
                "padding": "same",
                "strides": 2,
                "activation": "tanh",
            },
            shape,
        ),
        Case(
            {
                "filters": 2,
                "kernel_size": 2,
                "dilation_rate": 2,
                "padding": "same",
                "use_bias": False,
            },
            shape,
        ),
        Case({"filters": 4, "kernel_size": 5 - rank, "padding": "same", "groups": 2}, shape),
        Case(
            {"filters": 2, "kernel_size": 2, "data_format": FIRST, "strides": 2}, first, turned=True
        ),
        Case(
            {
                "filters": 2,
                "kernel_size": (3, 2, 1)[:rank],
                "data_format": FIRST,
                "padding": "same",
            },
            first,
            turned=True,
        ),
    ]


def _conv_transpose(rank: int) -> list[Case]:
    size = 2 if rank == 3 else 3
    shape = (size,) * rank + (2,)
    cases: list[dict[str, Any]] = [
        {"kernel_size": 2},
        {"kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
        {"kernel_size": 2, "strides": 3},
        {"kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1},
        {"kernel_size": 3, "strides": 2, "output_padding": 0},
        {"kernel_size": size + 1, "strides": size, "padding": "same", "use_bias": False},
    ]
    first = Case(
        {"filters": 2, "kernel_size": 3, "strides": 2, "data_format": FIRST},
        (2, *(size,) * rank),
        turned=True,
    )
    return [*(Case({"filters": 3, **options}, shape) for options in cases), first]


def _depthwise(rank: int) -> list[Case]:
    shape, first = SHAPES[rank], SHAPES_FIRST[rank]
    return [
        Case({"kernel_size": 2}, shape),
        Case(
            {
                "kernel_size": 3,
                "depth_multiplier": 2,
                "padding": "same",
                "strides": 2,
                "activation": "elu",
            },
            shape,
        ),
        Case({"kernel_size": 2, "dilation_rate": 2, "use_bias": False}, shape),
        Case({"kernel_size": 2, "dilation_rate": 2, "strides": 2, "padding": "same"}, shape),
        Case({"kernel_size": 2, "data_format": FIRST, "depth_multiplier": 2}, first, turned=True),
    ]


def _separable(rank: int) -> list[Case]:
    return [case._replace(options={"filters": 3, **case.options}) for case in _depthwise(rank)]


def _pooling(rank: int) -> list[Case]:
    mixed = tuple(range(2, 2 + rank))
    shape, first = SHAPES[rank], SHAPES_FIRST[rank]
    return [
        Case({"pool_size": 2}, shape),
        Case({"pool_size": mixed, "strides": 1, "padding": "same"}, shape),
        Case({"pool_size": 3, "strides": 2, "padding": "same"}, shape),
        Case({"pool_size": 2, "strides": 3}, shape),
        Case({"pool_size": 3, "padding": "same", "data_format": FIRST}, first),
    ]


def _global(rank: int) -> list[Case]:
    return [
        Case({}, SHAPES[rank]),
        Case({"keepdims": True}, SHAPES[rank]),
        Case({"data_format": FIRST}, SHAPES_FIRST[rank]),
    ]


CONVOLUTION = {
    **{f"Conv{rank}D": _conv(rank) for rank in SHAPES},
    **{f"Conv{rank}DTranspose": _conv_transpose(rank) for rank in SHAPES},
    **{f"DepthwiseConv{rank}D": _depthwise(rank) for rank in (1, 2)},
    **{f"SeparableConv{rank}D": _separable(rank) for rank in (1, 2)},
}
CONVOLUTION["Conv1D"] += [
    Case({"filters": 2, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}, (7, 2)),
    Case({"filters": 2, "kernel_size": 3, "padding": "causal", "strides": 2}, (7, 2), masked=True),
    Case(
        {"filters": 2, "kernel_size": 2, "padding": "causal", "data_format": FIRST},
        (2, 7),
        turned=True,
    ),
    Case(
        {"filters": 2, "kernel_size": 2, "activation": layer("PReLU", shared_axes=[1])},
        (5, 2),
        label="layer",
    ),
]
CONVOLUTION["Conv1DTranspose"] += [
    Case({"filters": 2, "kernel_size": 2, "dilation_rate": 2}, (4, 2), stuffed=True),
    Case(
        {"filters": 2, "kernel_size": 3, "dilation_rate": 2, "padding": "same"},
        (6, 2),
        stuffed=True,
    ),
]
CONVOLUTION["Conv2DTranspose"] += [
    Case(
        {"filters": 2, "kernel_size": (2, 3), "dilation_rate": (2, 3), "padding": "same"},
        (4, 6, 2),
        stuffed=True,
    ),
]

POOLING = {
    **{f"{kind}Pooling{rank}D": _pooling(rank) for kind in ("Max", "Average") for rank in SHAPES},
    **{
        f"Global{kind}Pooling{rank}D": _global(rank)
        for kind in ("Max", "Average")
        for rank in SHAPES
    },
}
POOLING["MaxPooling1D"] += [Case({}, (6, 2), masked=True)]
POOLING["GlobalMaxPooling1D"] += [Case({}, (5, 2), masked=True)]
# Its mean is NaN, in Keras too.
POOLING["GlobalAveragePooling1D"] += [
    Case({}, (5, 2), masked=True),
    Case({"keepdims": True}, (5, 2), masked=True),
    Case({}, (2, 3), masked=True, smooth=False, label="a row fully masked"),
]
