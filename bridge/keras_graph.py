"""A whole model as one Flax module: the nodes of a layer graph, run in order."""

from __future__ import annotations

from typing import Any

import jax

from bridge.graph import InputSpec, Node, TensorRef, Tensors
from bridge.inputs import mend
from bridge.layers.base import KerasLayer


class KerasGraph(KerasLayer):
    """A Sequential or Functional model with inference semantics.

    The fields are hashable, so that two conversions of equal models are equal and share compiled functions.
    The parameters of a layer lie under its Keras name.

    Attributes:
        layers: The layers, each named (``Module.name``) as in Keras.
        nodes: Calls in order.
        inputs: Input specifications.
        outputs: The tensor or tensors returned.
        output_names: Keys, when the model returns a dictionary.
    """

    # Flax would name the layers layers_0, layers_1, … otherwise.
    preserve_adopted_names = True

    layers: tuple[KerasLayer, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[InputSpec, ...]
    outputs: Tensors
    output_names: tuple[str, ...] | None = None

    def children(self) -> dict[str, KerasLayer]:
        """The layers by Keras name."""
        return {str(layer.name): layer for layer in self.layers}

    def __call__(self, inputs: Any, mask: Any = None) -> Any:
        """The model's outputs for ``inputs`` (an array, or a tuple of them in the order of the inputs)."""
        return self.run(inputs, mask)[0]

    def run(self, inputs: Any, mask: Any = None) -> tuple[Any, Any]:
        """Outputs and their masks."""
        arrays = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        masks = mask if isinstance(mask, (tuple, list)) else (mask,) * len(arrays)
        start = [mend(array, spec) for array, spec in zip(arrays, self.inputs, strict=True)]
        values: dict[int, tuple[Any, Any]] = {-1: (tuple(start), tuple(masks))}
        layers = self.children()
        for position, node in enumerate(self.nodes):
            values[position] = call_layer(layers[node.layer], *gather(values, node.inputs))
        outputs, output_masks = gather(values, self.outputs)
        if self.output_names is not None:
            outputs = dict(zip(self.output_names, outputs, strict=True))
        return outputs, output_masks


def call_layer(layer: KerasLayer, inputs: Any, mask: Any) -> tuple[Any, Any]:
    """Outputs and output masks of one layer, which is bound to its parameters."""
    if isinstance(layer, KerasGraph):
        return layer.run(inputs, mask)
    return layer(inputs, mask=mask), layer.compute_mask(inputs, mask)


def gather(values: dict[int, tuple[Any, Any]], refs: Tensors) -> tuple[Any, Any]:
    """Tensor and mask, or a list of tensors and of masks, at ``refs``."""
    if isinstance(refs, TensorRef):
        tensors, masks = values[refs.node]
        several = isinstance(tensors, (tuple, list))
        mask = masks[refs.index] if several and isinstance(masks, (tuple, list)) else masks
        return tensors[refs.index] if several else tensors, mask
    pairs: list[tuple[jax.Array, Any]] = [gather(values, ref) for ref in refs]
    return [tensor for tensor, _ in pairs], [mask for _, mask in pairs]
