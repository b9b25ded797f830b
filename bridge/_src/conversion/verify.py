"""``verify``: a Keras model and its conversion side by side, layer by layer."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from bridge._src.conversion.convert import from_keras
from bridge._src.description.constants import filled
from bridge._src.description.graph import Argument, InputSpec, LayerGraph, Node, TensorRef
from bridge._src.description.inputs import prepare
from bridge._src.description.weights import merge
from bridge._src.formats.live import plain_call
from bridge._src.module.keras_graph import KerasGraph, Values, call_node, gather, inner_inputs
from bridge._src.module.renaming import for_flax
from bridge._src.operations.operation_layers import Operation
from bridge._src.typing import KerasModel, LiveLayer, Mask, ModelSource
from lmjax._src.runtime.optional import needed
from lmjax._src.runtime.precision import scope
from lmjax._src.typing import PyTree

#: Batch and stand-in for open sizes of the random inputs.
_BATCH, _OPEN_SIZE = 4, 16


class LayerError(NamedTuple):
    """The error of one call of a layer, Keras' and the converted one given the same inputs.

    Attributes:
        layer: its name.
        class_name: Keras' name of its class.
        error: max|difference| / max|Keras' output|.
    """

    layer: str
    class_name: str
    error: float


@dataclass(frozen=True)
class Verification:
    """The result of :func:`verify`.

    Attributes:
        layers: The error of each call, in order; a layer of an inner model is called
            ``inner/layer``.
            Each has a ``layer``, its ``class_name`` and its ``error``.
        error: The error of the whole model.

    Errors are max|difference| / max|Keras' output|.

    Example:
        >>> import keras
        >>> import lmjax.keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
        >>> found = lmjax.keras.verify(model)
        >>> [(row.layer, row.class_name, row.error < 1e-6) for row in found.layers]
        [('out', 'Dense', True)]
    """

    layers: tuple[LayerError, ...]
    error: float

    def __str__(self) -> str:
        width = max(len(f"{row.layer} ({row.class_name})") for row in self.layers)
        lines = [
            f"{f'{row.layer} ({row.class_name})':{width}}  {row.error:.1e}" for row in self.layers
        ]
        return "\n".join([*lines, f"{'whole model':{width}}  {self.error:.1e}"])


def verify(model: ModelSource, x: PyTree = None, *, seed: int = 0) -> Verification:
    """Runs a Keras model and its conversion on the same inputs and returns the largest error of
    every layer.

    Args:
        model: A live Keras model, or the path of a ``.keras`` file, which Keras then loads in safe
            mode.
        x: Inputs as the model takes them; random ones when None.
        seed: Seed of the random inputs.

    Returns:
        The errors, relative to the largest absolute output; printing it gives a table.

    Raises:
        ConversionError: when the model cannot be converted.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "tanh")])
        >>> lmjax.keras.verify(model, np.ones((4, 2))).error < 1e-6
        True
    """
    if isinstance(model, (str, os.PathLike)):
        from_keras(model)  # its errors are clearer than those of Keras
        keras = needed("keras", "keras", "bridge.verify of a file")
        model = keras.saving.load_model(model, compile=False, safe_mode=True)
    converted = from_keras(model)
    inputs = random_inputs(converted.graph, seed) if x is None else x
    with scope(converted.dtype):
        arrays = prepare(inputs, converted.module.inputs, converted.dtype)
        module, weights = converted.module, merge(converted.params, converted.state)
        start = Values(arrays, (None,) * len(arrays))
        layers = tuple(_layer_errors(model, module, converted.graph, weights, start))
    feed = [np.asarray(array) for array in arrays]
    whole = plain_call(model, feed[0] if len(feed) == 1 else feed, training=False)
    return Verification(layers, _error(converted(converted.params, inputs), whole))


def random_inputs(graph: LayerGraph, seed: int) -> list[np.ndarray]:
    """Standard normal inputs; integers that every Embedding accepts where one reads the input."""
    rng = np.random.default_rng(seed)
    sizes = [
        record.config["input_dim"] for _, record in graph.records() if record.key == "Embedding"
    ]
    reads_indices = {
        node.inputs
        for node in graph.nodes
        for record in graph.layers
        if record.name == node.layer and record.key == "Embedding"
    }

    def draw(position: int, spec: InputSpec) -> np.ndarray:
        shape = (_BATCH, *(_OPEN_SIZE if size is None else size for size in spec.shape))
        if "int" in spec.dtype or TensorRef(-1, position) in reads_indices:
            return rng.integers(0, min(sizes, default=2), shape)
        return rng.standard_normal(shape)

    return [draw(position, spec) for position, spec in enumerate(graph.inputs)]


def _layer_errors(
    model: KerasModel,
    module: KerasGraph,
    graph: LayerGraph,
    weights: PyTree,
    values: Values,
    prefix: str = "",
) -> Iterator[LayerError]:
    """One error a call, in order; those inside of an inner model come before its own, with its name
    before theirs.
    """
    layers, records = module.children(), {record.name: record for record in graph.layers}
    for position, node in enumerate(module.nodes):
        layer, record, held = (
            layers[node.layer],
            records.get(node.layer),
            weights.get(node.layer, {}),
        )
        bindable, weights_of_it = (
            for_flax(layer, held) if isinstance(layer, KerasGraph) else (layer, held)
        )
        bound = bindable.bind({"params": weights_of_it})
        inner = None if isinstance(layer, Operation) else model.get_layer(node.layer)
        expected = None if inner is None else _keras_call(inner, node, values)
        if isinstance(layer, KerasGraph) and record is not None and record.graph is not None:
            start = layer.start(*inner_inputs(node, values), list(values.unmasked))
            yield from _layer_errors(
                inner, layer, record.graph, held, start, f"{prefix}{node.layer}/"
            )
        values[position] = call_node(bound, node, values)
        if expected is not None and record is not None:
            yield LayerError(
                prefix + node.layer, record.class_name, _error(values[position][0], expected)
            )


def _gathered(values: Values, argument: Argument) -> tuple[PyTree, Mask]:
    found, mask = gather(values, argument)
    return filled(found, "float32"), mask


def _keras_call(layer: LiveLayer, node: Node, values: Values) -> PyTree:
    feed = _with_masks(*_gathered(values, node.inputs))
    options = {
        str(name): _with_masks(*_gathered(values, argument)) for name, argument in node.options
    }
    mask = gather(values, node.inputs)[1]
    masked = any(leaf is not None for leaf in jax.tree.leaves(mask))
    parameters = inspect.signature(layer.call).parameters
    if masked and not options and "mask" in parameters:
        options["mask"] = jax.tree.map(np.asarray, mask)
    if "training" in parameters:  # some layers train unless they are told not to
        options["training"] = False
    return plain_call(layer, feed, **options)


def _with_masks(tensors: PyTree, masks: Mask) -> PyTree:
    """Arrays as Keras takes them; those with a mask carry it as Keras 3 attaches it to a tensor."""
    if isinstance(tensors, (list, tuple)):
        return [
            _with_masks(tensor, mask)
            for tensor, mask in zip(tensors, masks or (None,) * len(tensors), strict=True)
        ]
    masking = sys.modules.get("keras.src.backend.common.masking")
    if tensors is None or not hasattr(tensors, "shape"):
        return tensors
    if masks is None or masking is None:
        return np.asarray(tensors)
    tensor = sys.modules["keras"].ops.convert_to_tensor(np.asarray(tensors))
    masking.set_keras_mask(tensor, sys.modules["keras"].ops.convert_to_tensor(np.asarray(masks)))
    return tensor


def _error(ours: PyTree, keras: PyTree) -> float:
    """max|Δ| / max|reference| over all outputs; infinite where only one of the two is finite."""
    errors = [0.0]
    for given, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(keras), strict=True):
        given, expected = np.asarray(given, np.float64), np.asarray(expected, np.float64)
        if given.shape != expected.shape or (np.isfinite(given) != np.isfinite(expected)).any():
            return float("inf")
        finite = np.isfinite(expected)
        difference = np.max(np.abs(given - expected), where=finite, initial=0.0)
        errors.append(
            float(
                difference
                / max(
                    np.max(np.abs(expected), where=finite, initial=0.0), np.finfo(np.float32).tiny
                )
            )
        )
    return max(errors)
