"""Where in a graph standardised numbers begin and where they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from bridge._src.description.graph import TensorRef, references
from bridge._src.description.weights import leaves
from bridge._src.layers import activations
from bridge._src.layers.base import KerasLayer
from bridge._src.layers.core.core import ActivationLayer, Identity
from bridge._src.layers.core.regularization import Noise
from bridge._src.layers.core.reshaping import Flatten, Reshape
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.training.preparation import read_by
from bridge._src.training.standardization.sites import (
    NoFoldError,
    Site,
    input_sites,
    last_site,
)


class Place(NamedTuple):
    """A call whose inputs, or outputs, are standardised.

    Attributes:
        node: its position.
        layer: its layer.
        tensor: what is standardised.
        sites: the weights into which the map goes.
    """

    node: int
    layer: str
    tensor: TensorRef
    sites: list[Site]


def places_of_inputs(model: FlaxModel) -> list[Place]:
    """The calls of the first layers with trained weights, which read the inputs, or what layers
    without any make of them.

    Raises:
        ValueError: the inputs go on to a layer into which no map can be folded; the message names
            it.
    """
    module = model.module
    layers, calls = module.children(), Counter(node.layer for node in module.nodes)
    trained = {name for name, weights in model.params.items() if any(leaves(weights))}
    free: set[int] = {-1}
    places: list[Place] = []
    for position, node in enumerate(module.nodes):
        data = [ref for ref in read_by(node) if ref.node in free]
        layer = layers[node.layer]
        if node.layer not in trained and len(data) == len(read_by(node)):
            free.add(position)
        elif data and not layer.takes_indices():
            try:
                places.append(_place(layer, node.layer, position, node.inputs, data, calls))
            except NoFoldError as reason:
                raise ValueError(_no_place(node.layer, str(reason))) from None
    if not places:
        raise ValueError(
            "standardize: no layer of the model takes real numbers from its inputs (indices are "
            'left alone); leave it out, or ask for "targets" alone'
        )
    for place in places:
        _check_trained(model, place)
    return places


def _place(
    layer: KerasLayer,
    name: str,
    position: int,
    inputs: object,
    data: list[TensorRef],
    calls: Counter[str],
) -> Place:
    if not isinstance(inputs, TensorRef) or data != [inputs]:
        raise NoFoldError(
            "takes them beside other tensors, or as more than one argument, and not through a "
            "layer with weights"
        )
    if isinstance(layer, KerasGraph):
        raise NoFoldError("is a model within the model")
    sites = input_sites(layer, (name,))
    if calls[name] > 1:
        raise NoFoldError("is called more than once")
    return Place(position, name, inputs, sites)


def _no_place(layer: str, reason: str) -> str:
    return (
        f"standardize: the inputs go into layer {layer!r}, which {reason}, so that standardised "
        "inputs cannot be folded into its weights exactly; put a keras.layers.Normalization in "
        "front of it and adapt it, or standardise the inputs yourself"
    )


def _check_trained(model: FlaxModel, place: Place, side: str = "inputs") -> None:
    """Refuses weights that are frozen, or that are constrained or penalised in a way that a fold
    would change.
    """
    entries = {entry.path: entry for entry in model.table}
    for site in place.sites:
        for path in site.paths:
            entry = entries[path]
            fault = None
            if not entry.trainable:
                fault = "is frozen"
            elif entry.constraint is not None:
                fault = "has a constraint"
            elif path == site.bias and entry.regularizer is not None:
                fault = "has a regularizer"
            if fault is not None:
                raise ValueError(
                    f"standardize: {entry.name} {fault}, and the {side} would be folded into it; "
                    f"build the layer without, or standardise the {side} yourself"
                )


def last_call(module: KerasGraph, ref: TensorRef) -> int | None:
    """The call that an output comes from, but for layers that leave numbers and their order alone;
    None for an input.
    """
    layers = module.children()
    while ref.node >= 0:
        node = module.nodes[ref.node]
        layer = layers[node.layer]
        passes = type(layer) in (Identity, Noise, Reshape) or (
            (type(layer) is ActivationLayer and layer.activation == activations.LINEAR)
            or (type(layer) is Flatten and not layer.channels_first)
        )
        if not passes or not isinstance(node.inputs, TensorRef):
            return ref.node
        ref = node.inputs
    return None


def places_of_targets(model: FlaxModel, outputs: Sequence[tuple[str, TensorRef]]) -> list[Place]:
    """The calls that ``outputs``, named tensors, come from.

    Raises:
        ValueError: no map can be folded into one; the message names it.
    """
    module = model.module
    layers, calls = module.children(), Counter(node.layer for node in module.nodes)
    places = []
    for output, ref in outputs:
        position = last_call(module, ref)
        name = module.nodes[position].layer if position is not None else output
        try:
            if position is None:
                raise NoFoldError("is an input")
            site, linear = last_site(layers[name], (name,))
            if not linear:
                raise NoFoldError("has an activation at its end")
            if calls[name] > 1:
                raise NoFoldError("is called more than once")
            if _readers(module, position, ref) > 1:
                raise NoFoldError("is read by other layers, too")
            if name in dict(module.activity):
                raise NoFoldError("has an activity regularizer")
        except NoFoldError as reason:
            raise ValueError(
                f"standardize: output {output!r} comes from layer {name!r}, which {reason}, so "
                "that standardised targets cannot be folded into its weights exactly; end with a "
                'linear Dense layer, ask for "inputs" alone, or scale the targets yourself'
            ) from None
        places.append(Place(position, name, ref, [site]))
    for place in places:
        _check_trained(model, place, "targets")
    return places


def _readers(module: KerasGraph, position: int, output: TensorRef) -> int:
    """The most readers of any tensor on the way from a call to an output."""
    read = Counter(
        ref.node
        for refs in [*map(read_by, module.nodes), list(references(module.outputs))]
        for ref in refs
    )
    most, node = read[position], output.node
    while node != position:
        most = max(most, read[node])
        node = module.nodes[node].inputs.node
    return most
