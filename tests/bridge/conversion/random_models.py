"""Random small Keras models: layers, options and wiring drawn by hypothesis while the model is
built.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st

Draw = Callable[[Any], Any]
L = keras.layers
BATCH = 2
SMALL = st.integers(1, 3)
MAYBE = st.booleans()
ACTIVATIONS = st.sampled_from(
    [
        "linear",
        "tanh",
        "relu",
        "gelu",
        "selu",
        "sigmoid",
        "softsign",
        "swish",
        "elu",
        "softmax",
        "mish",
    ]
)
#: Those under which an unrolled product of many states stays small.
CELL_ACTIVATIONS = st.sampled_from(["tanh", "softsign", "sigmoid"])


def of(*choices: Any) -> Any:
    """One of ``choices``."""
    return st.sampled_from(choices)


def any_rank(draw: Draw, tensor: Any) -> Any:
    """A layer that takes a tensor of any rank and keeps all axes but the last."""
    axes = list(range(1, len(tensor.shape)))
    choices: list[Callable[[], Any]] = [
        lambda: L.Dense(draw(SMALL), draw(ACTIVATIONS), use_bias=draw(MAYBE)),
        lambda: L.Dense(draw(SMALL), activation=L.PReLU()),
        lambda: L.Activation(draw(ACTIVATIONS)),
        lambda: L.BatchNormalization(axis=draw(of(-1, 1)), scale=draw(MAYBE), center=draw(MAYBE)),
        lambda: L.LayerNormalization(axis=draw(of(-1, 1, axes)), epsilon=draw(of(1e-3, 1e-2))),
        lambda: L.RMSNormalization(epsilon=0.1),
        lambda: L.UnitNormalization(axis=-1),
        lambda: L.LeakyReLU(negative_slope=draw(of(0.0, 0.1, 0.5))),
        lambda: L.ReLU(max_value=draw(of(None, 1.0)), negative_slope=draw(of(0.0, 0.2))),
        lambda: L.PReLU(shared_axes=draw(of(None, axes[:-1])) if len(axes) > 1 else None),
        lambda: L.ELU(alpha=draw(of(0.3, 1.0))),
        lambda: L.Softmax(axis=draw(of(-1, 1))),
        lambda: L.Dropout(0.4),
        lambda: L.GaussianNoise(0.4),
        lambda: L.Rescaling(draw(of(0.3, -2.0)), offset=0.1),
        lambda: L.EinsumDense("...x,xy->...y", draw(SMALL), bias_axes=draw(of(None, "y"))),
    ]
    return draw(st.sampled_from(choices))()


def convolutional(draw: Draw, tensor: Any) -> Any:
    """A layer on sequences (batch, time, channels) or images (batch, height, width, channels)."""
    suffix, shortest = f"{len(tensor.shape) - 2}D", min(tensor.shape[1:-1])
    kernel = draw(st.integers(1, min(3, shortest)))
    stride, dilation = draw(of((1, 1), (2, 1), (1, 2)))
    fits = (kernel - 1) * dilation < shortest
    paddings = ["same", *["valid"] * fits, *["causal"] * (suffix == "1D")]
    padding = draw(of(*paddings[: 1 + fits]))
    shared = {"activation": draw(ACTIVATIONS), "use_bias": draw(MAYBE)}
    groups = draw(of(*(size for size in (1, 2, 3) if tensor.shape[-1] % size == 0)))
    pool = {
        "pool_size": min(2, shortest),
        "strides": draw(of(None, 1)),
        "padding": draw(of("valid", "same")),
    }
    choices: list[Callable[[], Any]] = [
        lambda: getattr(L, f"Conv{suffix}")(
            groups * draw(SMALL),
            kernel,
            stride,
            padding=draw(of(*paddings)),
            dilation_rate=dilation,
            groups=groups,
            **shared,
        ),
        lambda: getattr(L, f"Conv{suffix}Transpose")(
            draw(SMALL), kernel, stride, padding, **shared
        ),
        lambda: getattr(L, f"DepthwiseConv{suffix}")(
            kernel, stride, padding, depth_multiplier=draw(of(1, 2)), **shared
        ),
        lambda: getattr(L, f"SeparableConv{suffix}")(
            draw(SMALL), kernel, stride, padding, depth_multiplier=draw(of(1, 2)), **shared
        ),
        lambda: getattr(L, f"MaxPooling{suffix}")(**pool),
        lambda: getattr(L, f"AveragePooling{suffix}")(**pool),
        lambda: getattr(L, f"ZeroPadding{suffix}")(1),
        lambda: getattr(L, f"Cropping{suffix}")(1) if shortest > 2 else L.Identity(),
        lambda: getattr(L, f"UpSampling{suffix}")(2),
        lambda: getattr(L, f"SpatialDropout{suffix}")(0.2),
        lambda: L.GroupNormalization(groups=groups),
    ]
    return draw(st.sampled_from(choices))()


def cell(draw: Draw, sequences: bool, go_backwards: bool = False) -> Any:
    """An LSTM, GRU or SimpleRNN layer."""
    kind = draw(of(L.SimpleRNN, L.LSTM, L.GRU))
    options = {"reset_after": draw(MAYBE)} if kind is L.GRU else {}
    options |= {"recurrent_activation": draw(CELL_ACTIVATIONS)} if kind is not L.SimpleRNN else {}
    return kind(
        draw(SMALL),
        draw(CELL_ACTIVATIONS),
        use_bias=draw(MAYBE),
        return_sequences=sequences,
        go_backwards=go_backwards,
        zero_output_for_mask=draw(MAYBE),
        **options,
    )


def recurrent(draw: Draw, tensor: Any, sequences: bool = True) -> Any:
    """A recurrent layer, or a layer for each step, on sequences (batch, time, features)."""
    choices: list[Callable[[], Any]] = [
        lambda: cell(draw, sequences, draw(MAYBE)),
        lambda: L.Bidirectional(
            cell(draw, sequences), merge_mode=draw(of("concat", "sum", "ave", "mul"))
        ),
        lambda: L.RNN(
            L.StackedRNNCells([L.LSTMCell(draw(SMALL)), L.GRUCell(draw(SMALL))]),
            return_sequences=sequences,
        ),
    ]
    if sequences:
        choices.append(
            lambda: L.TimeDistributed(any_rank(draw, keras.KerasTensor((None, tensor.shape[-1]))))
        )
    return draw(st.sampled_from(choices))()


#: Size of an attention head. With 1 and as many heads as time steps Keras on TensorFlow adds the
#: biases of the heads along the time axis: its ``add`` takes a vector among ones for that of a
#: convolution in channels_first. Keras on JAX does not.
HEAD = st.integers(2, 3)


def attended(draw: Draw, tensor: Any) -> Any:
    """The attention of sequences to themselves."""
    causal = draw(MAYBE)
    if draw(MAYBE):
        heads = draw(of(1, 2))
        if draw(MAYBE):
            options = {"value_dim": draw(HEAD), "dropout": draw(of(0.0, 0.2))}
            # Not in Keras 3.10.
            if "use_gate" in inspect.signature(L.MultiHeadAttention).parameters:
                options["use_gate"] = draw(MAYBE)
            return L.MultiHeadAttention(heads, draw(HEAD), **options)(
                tensor, tensor, use_causal_mask=causal
            )
        return L.GroupQueryAttention(draw(HEAD), 2 * heads, heads, use_bias=draw(MAYBE))(
            tensor, tensor, use_causal_mask=causal
        )
    layer = draw(of(L.Attention, L.AdditiveAttention))
    options = {"score_mode": draw(of("dot", "concat"))} if layer is L.Attention else {}
    return layer(use_scale=draw(MAYBE), **options)([tensor, tensor], use_causal_mask=causal)


def merged(draw: Draw, tensor: Any, branch: Any) -> Any:
    """Two tensors brought together where their shapes allow it."""
    choices: list[Callable[[], Any]] = [lambda: branch]
    if branch.shape[1:-1] == tensor.shape[1:-1]:
        choices.append(lambda: L.Concatenate()([tensor, branch]))
        if len(tensor.shape) == 3:
            choices.append(
                lambda: L.Dot(axes=draw(of(1, (1, 1))), normalize=draw(MAYBE))([tensor, branch])
            )
    if branch.shape == tensor.shape:
        kinds = (L.Add, L.Multiply, L.Average, L.Subtract, L.Maximum, L.Minimum)
        choices += [
            lambda: draw(of(*kinds))()([tensor, branch]),
            lambda: tensor * 0.5 + keras.ops.tanh(branch),
        ]
    return draw(st.sampled_from(choices))()


def step(draw: Draw, tensor: Any, kind: str) -> Any:
    """``tensor`` one layer further, perhaps merged with what it was."""
    if kind == "nested":
        return nested(draw, tensor, depth=2)
    if kind == "dense" or draw(st.integers(0, 2)) == 0:
        branch = any_rank(draw, tensor)(tensor)
    elif kind == "convolutional":
        branch = convolutional(draw, tensor)(tensor)
    else:
        branch = recurrent(draw, tensor)(tensor) if kind == "recurrent" else attended(draw, tensor)
    return merged(draw, tensor, branch)


def nested(draw: Draw, tensor: Any, depth: int) -> Any:
    """An inner model, Functional or Sequential, perhaps used twice; or a plain step."""
    kinds = (
        ("dense",)
        if len(tensor.shape) != 3
        else ("dense", "convolutional", "recurrent", "attention")
    )
    if depth == 0 or draw(st.integers(0, 2)) == 0:
        return step(draw, tensor, draw(of(*kinds)))
    inside = keras.Input(tensor.shape[1:], dtype=tensor.dtype)
    if draw(MAYBE):
        model = keras.Sequential([inside])
        for _ in range(draw(st.integers(0, 2))):
            model.add(
                any_rank(
                    draw, keras.KerasTensor(model.output_shape if model.layers else inside.shape)
                )
            )
    else:
        model = keras.Model(inside, nested(draw, nested(draw, inside, depth - 1), 0))
    model.trainable = draw(of(True, True, False))
    outputs = model(tensor)
    return model(outputs) if outputs.shape == tensor.shape and draw(MAYBE) else outputs


def vector(draw: Draw, tensor: Any) -> Any:
    """``tensor`` without the axes between the first and the last."""
    rank = len(tensor.shape) - 2
    if rank == 0:
        return tensor
    if rank == 1 and draw(MAYBE):
        return recurrent(draw, tensor, sequences=False)(tensor)
    return getattr(
        L, draw(of("Flatten", f"GlobalAveragePooling{rank}D", f"GlobalMaxPooling{rank}D"))
    )()(tensor)


def chain(draw: Draw, tensor: Any, kind: str, longest: int) -> Any:
    """``tensor`` after some steps, perhaps with a mask."""
    if kind in ("recurrent", "attention") and len(tensor.shape) == 3 and draw(MAYBE):
        tensor = L.Masking()(tensor)
    for _ in range(draw(st.integers(1, longest))):
        tensor = step(draw, tensor, kind)
    return tensor


def sequential(draw: Draw, kind: str) -> Any:
    """A model of one input, one output and a few steps between them."""
    sequence = st.tuples(st.integers(2, 5), SMALL)
    shapes = {
        "dense": st.tuples(st.integers(1, 4)),
        "convolutional": st.one_of(
            st.tuples(st.integers(3, 6), SMALL),
            st.tuples(st.integers(3, 5), st.integers(3, 5), SMALL),
        ),
        "nested": st.one_of(st.tuples(st.integers(1, 4)), sequence),
    }
    inputs = keras.Input(draw(shapes.get(kind, sequence)), dtype="float64")
    tensor = vector(draw, chain(draw, inputs, kind, 3))
    return keras.Model(inputs, L.Dense(draw(SMALL))(tensor))


def functional(draw: Draw, kind: str) -> Any:
    """A model of several inputs and outputs, with a shared layer and merges."""
    time, features = draw(st.integers(2, 4)), draw(SMALL)
    inputs = [keras.Input((time, features), dtype="float64") for _ in range(draw(of(2, 3)))]
    kinds = of("dense", "recurrent", "attention")
    shared = any_rank(draw, inputs[0]) if draw(MAYBE) else recurrent(draw, inputs[0])
    branches = [chain(draw, shared(tensor), draw(kinds), 1) for tensor in inputs]
    tensor = branches[0]
    for branch in branches[1:]:
        tensor = merged(draw, tensor, branch)
    outputs = [
        L.Dense(draw(SMALL))(vector(draw, one)) for one in (tensor, branches[0])[: draw(of(1, 2))]
    ]
    return keras.Model(
        inputs,
        {f"output_{position}": one for position, one in enumerate(outputs)}
        if draw(MAYBE)
        else outputs,
    )


KINDS: dict[str, Callable[[Draw, str], Any]] = {
    **dict.fromkeys(("dense", "convolutional", "recurrent", "attention", "nested"), sequential),
    "functional": functional,
}


def draw_model(draw: Draw, kind: str) -> Any:
    """A model of one of :data:`KINDS`."""
    return KINDS[kind](draw, kind)


def describe(model: Any, indent: str = "") -> str:
    """The layers of a model with their shapes, one a line."""
    lines = []
    for layer in model.layers:
        lines.append(f"{indent}{type(layer).__name__} {layer.get_config()}")
        lines += [describe(layer, indent + "  ")] if isinstance(layer, keras.Model) else []
    return "\n".join(lines)


def sample(model: Any) -> list[np.ndarray]:
    """Gaussian inputs, the last step of the first sequence being one that Masking masks."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(BATCH, *tensor.shape[1:])) for tensor in model.inputs]
    for array in arrays:
        if array.ndim == 3:
            array[0, -1] = 0
    return arrays
