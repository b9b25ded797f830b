"""Affine maps of single columns as layers of a graph, and where they are put."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
from jax.nn import initializers

from bridge._src.description.graph import Node, TensorRef, replaced
from bridge._src.description.weights import merge
from bridge._src.layers.base import KerasLayer, Weight
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.training.standardization.moments import AffineMap


class Affine(KerasLayer):
    """scale · inputs + shift along the last axis, or the inverse.

    Parameters: scale, shift; data, and not options, so that other data compile nothing anew.
    """

    inverse: bool

    def weights(self) -> tuple[Weight, ...]:
        return Weight("scale", trainable=False), Weight("shift", trainable=False)

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        shape = inputs.shape[-1:]
        scale = self.param("scale", initializers.ones, shape)
        shift = self.param("shift", initializers.zeros, shape)
        # The difference first: it is what large offsets leave.
        return (inputs - shift) / scale if self.inverse else inputs * scale + shift


def with_maps(
    model: FlaxModel, before: Mapping[int, AffineMap], behind: Mapping[int, AffineMap]
) -> FlaxModel:
    """``model`` with layers that standardise before the calls at some positions, and with layers
    that undo it behind others. Nodes of other positions are as they were.
    """
    module = model.module
    nodes: list[Node] = []
    layers: list[KerasLayer] = list(module.layers)
    state, moved = model.state, {-1: -1}

    def put(of: AffineMap, source: TensorRef, inverse: bool) -> TensorRef:
        nonlocal state
        taken = {str(layer.name) for layer in layers}
        name = next(
            name for number in range(len(taken) + 1) if (name := f"affine_{number}") not in taken
        )
        layers.append(Affine(inverse=inverse, name=name))
        nodes.append(Node(name, source))
        weights = {
            name: {part: numbers.astype(model.dtype) for part, numbers in of._asdict().items()}
        }
        state = merge(state, weights)
        return TensorRef(len(nodes) - 1, None)

    def now(ref: TensorRef) -> TensorRef:
        return TensorRef(moved[ref.node], ref.index)

    for position, node in enumerate(module.nodes):
        inputs = replaced(node.inputs, now)
        if position in before:
            inputs = put(before[position], inputs, True)
        options = tuple((name, replaced(option, now)) for name, option in node.options)
        nodes.append(Node(node.layer, inputs, options))
        moved[position] = len(nodes) - 1
        if position in behind:
            moved[position] = put(behind[position], TensorRef(len(nodes) - 1, None), False).node
    graph = KerasGraph(
        tuple(layers),
        tuple(nodes),
        module.inputs,
        replaced(module.outputs, now),
        module.activity,
    )
    return dataclasses.replace(model, module=graph, state=state)
