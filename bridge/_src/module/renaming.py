"""Names taken out of a model, so that models that differ in nothing else share their compiled
functions.

Keras numbers layers as they are made: the second model that a script builds has ``dense_2`` where
the first had ``dense``. Compiled functions are found again by the structure of their arguments,
names of parameters included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bridge._src.module.keras_graph import KerasGraph
from lmjax._src.typing import Params


def without_names(module: KerasGraph) -> KerasGraph:
    """``module`` with its layers and inputs numbered in place of their names, in inner models
    too.
    """
    numbers = _numbers(module)
    layers = tuple(
        (without_names(layer) if isinstance(layer, KerasGraph) else layer).clone(
            name=numbers[str(layer.name)]
        )
        for layer in module.layers
    )
    return KerasGraph(
        layers,
        tuple(replace(node, layer=numbers[node.layer]) for node in module.nodes),
        tuple(replace(spec, name=str(position)) for position, spec in enumerate(module.inputs)),
        module.outputs,
        tuple((numbers[name], factors) for name, factors in module.activity),
    )


def for_flax(module: KerasGraph, weights: Params) -> tuple[KerasGraph, Params]:
    """``module`` and its weights as Flax takes them, which refuses weights of a layer that is
    called ``params``.
    """
    return (
        (without_names(module), to_numbers(weights, module))
        if "params" in weights
        else (module, weights)
    )


def to_numbers(weights: Params, module: KerasGraph) -> dict[str, Any]:
    """Nested weights of ``module`` with numbers in place of layer names."""
    numbers, children = _numbers(module), module.children()
    return {
        numbers[name]: _inner(value, children[name], to_numbers) for name, value in weights.items()
    }


def to_names(weights: Params, module: KerasGraph) -> dict[str, Any]:
    """The inverse of :func:`to_numbers`."""
    names, children = {number: name for name, number in _numbers(module).items()}, module.children()
    return {
        names[number]: _inner(value, children[names[number]], to_names)
        for number, value in weights.items()
    }


def _numbers(module: KerasGraph) -> dict[str, str]:
    # Zero-padded: JAX sorts the keys of dictionaries as text, and the order of the parameters
    # should be the model's.
    return {name: f"{position:04d}" for position, name in enumerate(module.children())}


def _inner(value: Params, layer: Any, rename: Callable[..., Params]) -> Params:
    # One value may stand for all of an inner model.
    inner = isinstance(layer, KerasGraph) and isinstance(value, Mapping)
    return rename(value, layer) if inner else value
