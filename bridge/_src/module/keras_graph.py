"""A whole model as one Flax module: the nodes of a layer graph, run in order."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bridge._src.description.constants import filled
from bridge._src.description.graph import Argument, InputSpec, Named, Node, TensorRef, Tensors
from bridge._src.description.inputs import mend
from bridge._src.description.regularizers import Factors
from bridge._src.layers.base import KerasLayer
from bridge._src.layers.numerics import float_dtype
from bridge._src.typing import Mask
from lmjax._src.typing import Array, PyTree

#: Flax' name of the collection of regularized outputs.
ACTIVITY = "activity"

#: What is there under this name counts by its size, all else by its square.
SIZES = "sizes"


class KerasGraph(KerasLayer):
    """A Sequential or Functional model with inference semantics.

    The fields are hashable, so that two conversions of equal models are equal and share compiled
    functions. The parameters of a layer lie under its Keras name.

    Attributes:
        layers: The layers, each named (``Module.name``) as in Keras.
        nodes: Calls in order.
        inputs: Input specifications.
        outputs: The tensor or tensors returned.
        activity: Factors of activity regularizers, by layer. Where Flax is asked for the collection
            :data:`ACTIVITY`, the outputs of these layers are put there, (batch, …) each: those
            whose squares count times the root of the factor, and as :data:`SIZES` those whose
            absolute values do times the factor.
    """

    # Flax would name the layers layers_0, layers_1, … otherwise.
    preserve_adopted_names = True

    layers: tuple[KerasLayer, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[InputSpec, ...]
    outputs: Tensors
    activity: tuple[tuple[str, Factors], ...] = ()

    def children(self) -> dict[str, KerasLayer]:
        """The layers by Keras name."""
        return {str(layer.name): layer for layer in self.layers}

    def __call__(self, inputs: PyTree, mask: Mask = None) -> PyTree:
        """The model's outputs for ``inputs`` (an array, or a tuple of them in the order of the
        inputs).
        """
        return self.run(inputs, mask)[0]

    def start(
        self, inputs: PyTree, mask: Mask = None, unmasked: list[Array] | None = None
    ) -> Values:
        """What there is before the first call: the inputs."""
        arrays = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        masks = mask if isinstance(mask, (tuple, list)) else (mask,) * len(arrays)
        return Values(
            tuple(mend(array, spec) for array, spec in zip(arrays, self.inputs, strict=True)),
            tuple(masks),
            unmasked,
        )

    def run(
        self, inputs: PyTree, mask: Mask = None, unmasked: list[Array] | None = None
    ) -> tuple[PyTree, Mask]:
        """Outputs and their masks; tensors whose masks were taken off are added to ``unmasked``."""
        values = self.start(inputs, mask, unmasked)
        layers = self.children()
        for position, node in enumerate(self.nodes):
            values[position] = call_node(layers[node.layer], node, values)
            for factors in (factors for name, factors in self.activity if name == node.layer):
                self._sow(values[position][0], factors)
        return gather(values, self.outputs)

    def _sow(self, outputs: PyTree, factors: Factors) -> None:
        for leaf in jax.tree.leaves(outputs):
            seen = leaf.reshape(leaf.shape[0], -1)
            if factors.l2:
                self.sow(ACTIVITY, "outputs", factors.l2**0.5 * seen)
            if factors.l1:
                self.sow(ACTIVITY, SIZES, factors.l1 * seen)


class Values(dict[int, tuple[PyTree, Mask]]):
    """What the nodes so far returned: tensors and masks by position; -1 are the inputs of the
    graph.

    Attributes:
        unmasked: Tensors from which a layer took the mask off: for Keras a mask is an attribute of
            the tensor itself, and MultiHeadAttention deletes those of its inputs, so that whoever
            reads them later sees none.
    """

    def __init__(
        self,
        inputs: tuple[PyTree, ...],
        masks: tuple[Mask, ...],
        unmasked: list[Array] | None = None,
    ) -> None:
        super().__init__({-1: (inputs, masks)})
        self.unmasked = [] if unmasked is None else unmasked

    def mask_of(self, tensor: Array, mask: Mask) -> Mask:
        """``mask``, unless it was taken off ``tensor``."""
        return None if any(tensor is other for other in self.unmasked) else mask


def call_node(layer: KerasLayer, node: Node, values: Values) -> tuple[PyTree, Mask]:
    """Outputs and output masks of one call; ``layer`` is bound to its parameters.

    Masks reach a layer as in Keras: the mask of the first argument goes to a layer that has no
    other tensors among its arguments; where there are several, ``<argument>_mask`` is the mask of
    that argument.
    """
    inputs, mask = gather(values, node.inputs)
    if isinstance(layer, KerasGraph):
        return layer.run(*inner_inputs(node, values), values.unmasked)
    options, masks = {}, {"mask": mask}
    if _holds_tensors(dict(node.options).values()):
        masks = {f"{layer.arguments[0]}_mask": mask}
    for name, argument in node.options:
        options[str(name)], option_mask = gather(values, argument)
        masks[f"{name}_mask"] = option_mask
    inputs, options = _with_arrays(inputs, options)
    if "mask" in options:
        mask = options["mask"]
    automatic = {
        name: found for name, found in masks.items() if name == "mask" or name in layer.arguments
    }
    outputs, output_mask = (
        layer(inputs, **(automatic | options)),
        _output_mask(layer, inputs, mask, options),
    )
    if layer.unmasks_inputs():
        values.unmasked += [
            inputs,
            *(options[name] for name in ("value", "key") if name in options),
        ]
    if isinstance(outputs, tuple):
        first = output_mask if isinstance(output_mask, tuple) else (output_mask,)
        output_mask = (*first, *(None,) * (len(outputs) - len(first)))
    elif isinstance(
        output_mask,
        list,
        # a layer of several tensors that hands their masks on: Keras pairs outputs and masks in
        # order
    ):
        output_mask = output_mask[0] if output_mask else None
    return outputs, output_mask


def _with_arrays(inputs: PyTree, options: dict[str, Any]) -> tuple[PyTree, dict[str, Any]]:
    """The arguments of a call with arrays in place of constants, in the dtype of its tensors."""
    tensors = [leaf for leaf in jax.tree.leaves((inputs, options)) if isinstance(leaf, jax.Array)]
    dtype = next(
        (float_dtype(tensor) for tensor in tensors if jnp.issubdtype(tensor.dtype, jnp.floating)),
        jnp.result_type(float),
    )
    return filled(inputs, dtype), {name: filled(option, dtype) for name, option in options.items()}


def inner_inputs(node: Node, values: Values) -> tuple[PyTree, Mask]:
    """Inputs and masks of a call of an inner model."""
    inputs, mask = gather(values, node.inputs)
    explicit = dict(node.options).get("mask")
    return inputs, mask if explicit is None else gather(values, explicit)[0]


def _output_mask(layer: KerasLayer, inputs: PyTree, mask: Mask, options: dict[str, Any]) -> Mask:
    # Logits of a ReversibleEmbedding have none.
    return None if options.get("reverse") else layer.compute_mask(inputs, mask)


def _holds_tensors(argument: Argument) -> bool:
    return isinstance(argument, TensorRef) or (
        not isinstance(argument, str)
        and hasattr(argument, "__iter__")
        and any(map(_holds_tensors, argument))
    )


def gather(values: Values, argument: Argument) -> tuple[PyTree, Mask]:
    """What ``argument`` stands for and its mask; lists of both for a tuple, dictionaries for names;
    a constant has no mask.
    """
    if isinstance(argument, Named):
        found = gather(values, argument.items)
        return dict(zip(argument.names, found[0], strict=True)), dict(
            zip(argument.names, found[1], strict=True)
        )
    if isinstance(argument, tuple):
        pairs: list[tuple[PyTree, Mask]] = [gather(values, item) for item in argument]
        return [found for found, _ in pairs], [mask for _, mask in pairs]
    if not isinstance(argument, TensorRef):
        return argument, None
    tensors, masks = values[argument.node]
    if isinstance(tensors, (tuple, list)) and argument.index is not None:
        tensors, masks = (
            tensors[argument.index],
            masks[argument.index] if isinstance(masks, (tuple, list)) else masks,
        )
    return tensors, values.mask_of(tensors, masks)
