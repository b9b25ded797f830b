"""A fit forms derivatives row by row, so that what the model says of one row must not depend on the
others.

Keras runs functions such as ``ops.mean(x, axis=0)`` over the batch axis, too, and answers with
other numbers for other batches. Those that can are tried on a few rows, together and each alone,
before a fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import numpy as np

from bridge._src.description.errors import ConversionError, Refusal
from bridge._src.description.graph import InputSpec, TensorRef
from bridge._src.layers.base import KerasLayer
from bridge._src.layers.preprocessing.spectrograms import MelSpectrogram
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.module.shapes import OPEN_SIZE
from bridge._src.operations.operation_layers import Operation
from lmjax._src.runtime.precision import scope
from lmjax._src.typing import Array, PyTree

#: Rows that are tried, where the model leaves their number open; an order reversed or moved by one
#: shows.
_ROWS = 4
#: Outputs differ by rounding where this part of the largest is not exceeded: √ε of single
#: precision, in which some layers compute.
_ROUNDING = math.sqrt(float(np.finfo(np.float32).eps))
#: So small is every second row in one of the trials: what is cut off relative to the loudest row
#: shows.
_QUIET = 1e-6
#: Fields of layers that say along which axes they compute.
_AXES = ("axis", "axes", "attention_axes")
_REASON = (
    "what it computes of one row depends on the other rows of the batch, so that a fit would "
    "answer a different question on each batch; let it leave the first axis alone, or apply it "
    "to the data before the model"
)


def check_rows_apart(model: FlaxModel) -> None:
    """Raises :class:`ConversionError` when an output of one row depends on other rows; it names the
    first such layer.
    """
    module = model.module
    if not (any(not spec.shape for spec in module.inputs) or _may_mix(module)):
        return
    with scope(model.dtype):
        if _apart(model, module.outputs):
            return
        guilty = next(
            (
                node
                for place, node in enumerate(module.nodes)
                if not _apart(model, TensorRef(place, None))
            ),
            None,
        )
    name = module.nodes[-1].layer if guilty is None else guilty.layer
    record = next(record for record in model.graph.layers if record.name == name)
    raise ConversionError.for_layers(model.graph.name, [Refusal(name, record.class_name, _REASON)])


def _may_mix(layer: KerasLayer) -> bool:
    """Whether a layer, or one within it, has a form that reads along the batch axis."""
    if any(map(_may_mix, layer.children().values())):
        return True
    if isinstance(layer, KerasGraph):
        return False
    along = [axis for name in _AXES for axis in np.atleast_1d(getattr(layer, name, None) or [])]
    if isinstance(getattr(layer, "axis", None), int):
        along.append(layer.axis)  # 0 is an axis, too
    equation = getattr(layer, "equation", "...")
    source, target = equation.split(",")[0], equation.rpartition(">")[2]
    return (
        isinstance(layer, Operation)
        or not type(layer).__module__.startswith("bridge.")
        or type(layer).__module__ == "bridge._src.layers.keras_calls"
        or (isinstance(layer, MelSpectrogram) and layer.decibels is not None)
        or any(axis <= 0 and axis != -1 for axis in along)
        or source[:1] != target[:1]
    )


def _apart(model: FlaxModel, outputs: PyTree) -> bool:
    """Whether ``outputs`` of a few rows are those of each alone, for weights unlike the first ones
    (which may be 0).
    """
    module = model.module
    function = FlaxModel(
        module.clone(outputs=outputs),
        model.params,
        model.state,
        model.table,
        model.graph,
        model.dtype,
    ).pure()

    def run(weights: PyTree, *arrays: PyTree) -> list[Array]:
        return jax.tree.leaves(function(weights, list(arrays) if len(arrays) > 1 else arrays[0]))

    def alone(weights: PyTree, *arrays: PyTree) -> list[Array]:
        return jax.vmap(lambda *row: run(weights, *(array[None] for array in row)))(*arrays)

    together, each, draw = jax.jit(run), jax.jit(alone), np.random.default_rng(0)
    weights = jax.tree.map(
        lambda leaf: (
            draw.standard_normal(leaf.shape) / math.sqrt(max(math.prod(leaf.shape[:-1]), 1))
        ).astype(leaf.dtype),
        model.params,
    )
    for numbers in (_signed, _positive, _whole):
        inputs = [
            _input(spec, numbers if "float" in spec.dtype else _whole, draw, model)
            for spec in module.inputs
        ]
        try:
            pairs = list(zip(together(weights, *inputs), each(weights, *inputs), strict=True))
        except (ValueError, TypeError, IndexError):
            if any(size is None for spec in module.inputs for size in spec.shape):
                return True  # the failure may be that of the stand-in
            raise
        if not all(_are_those(np.asarray(one), np.asarray(other)) for one, other in pairs):
            return False
    return True


def _input(
    spec: InputSpec, numbers: Callable[..., np.ndarray], draw: np.random.Generator, model: FlaxModel
) -> np.ndarray:
    rows = max(other.batch or _ROWS for other in model.module.inputs)
    drawn = numbers(draw, (rows, *(OPEN_SIZE if size is None else size for size in spec.shape)))
    return drawn.astype(model.dtype if "float" in spec.dtype else np.int32)


def _signed(draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return draw.standard_normal(shape)


def _positive(draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers above 0, every second row :data:`_QUIET`."""
    return draw.uniform(0.1, 1.0, shape) * np.where(np.arange(shape[0]) % 2, _QUIET, 1.0).reshape(
        -1, *(1,) * (len(shape) - 1)
    )


def _whole(draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that are indices of any table with two entries."""
    return draw.integers(0, 2, shape)


def _are_those(together: np.ndarray, alone: np.ndarray) -> bool:
    """Whether (rows, …) are (rows, 1, …) up to rounding; constants, the same for every row, may
    lack the first axis.
    """
    if together.shape == (alone.shape[0], *alone.shape[2:]) and alone.shape[1:2] == (1,):
        alone = alone[:, 0]
    elif together.shape == alone.shape[1:]:
        together = np.broadcast_to(together, alone.shape)
    else:
        return False
    if not np.issubdtype(alone.dtype, np.inexact):
        return np.array_equal(together, alone)
    finite = np.abs(alone[np.isfinite(alone)])
    return bool(
        np.allclose(
            together,
            alone,
            rtol=0.0,
            atol=_ROUNDING * float(finite.max(initial=0.0)),
            equal_nan=True,
        )
    )
