"""From the layer graph to the Flax module, through the registry."""

from __future__ import annotations

from bridge._src.description.config import policy_name
from bridge._src.description.errors import ConversionError, LayerRefused, Refusal
from bridge._src.description.graph import Argument, LayerGraph, LayerRecord, Node, TensorRef
from bridge._src.description.regularizers import Factors, factors_of
from bridge._src.layers import nested, registry
from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.module import shipped  # noqa: F401 - fills the registry
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.typing import KerasModel, LiveLayer


def build(graph: LayerGraph, model: KerasModel = None) -> KerasGraph:
    """The Flax module of ``graph``; ``model`` is the live Keras model that it was read from, if it
    was.

    Raises:
        ConversionError: when layers cannot be converted; it names all of them, those of inner
            models included.
    """
    refusals: list[Refusal] = []
    module = _build_graph(graph, (), refusals, model)
    if refusals:
        raise ConversionError.for_layers(graph.name, refusals)
    return module


def refusals(graph: LayerGraph) -> list[Refusal]:
    """The layers of ``graph`` that cannot be converted, with the reasons."""
    found: list[Refusal] = []
    _build_graph(graph, (), found, None)
    return found


def _build_graph(
    graph: LayerGraph, prefix: tuple[str, ...], refusals: list[Refusal], model: KerasModel
) -> KerasGraph:
    layers = []
    live = {} if model is None else {layer.name: layer for layer in model.layers}
    for record in graph.layers:
        path = (*prefix, record.name)
        try:
            held, inner = live.get(record.name), None if record.problem else record.graph
            layer = (
                _build_layer(record, held)
                if inner is None
                else _build_inner(inner, path, refusals, held)
            )
        except LayerRefused as refusal:
            refusals.append(Refusal("/".join(path), record.class_name, str(refusal)))
        else:
            layers.append(layer.clone(name=record.name))
    modules = {str(layer.name): layer for layer in layers}
    nodes = []
    for node in graph.nodes:
        try:
            nodes.append(_named(node, modules[node.layer]) if node.layer in modules else node)
        except LayerRefused as refusal:
            record = next(record for record in graph.layers if record.name == node.layer)
            refusals.append(
                Refusal("/".join((*prefix, node.layer)), record.class_name, str(refusal))
            )
    return KerasGraph(tuple(layers), tuple(nodes), graph.inputs, graph.outputs, _activity(graph))


def _activity(graph: LayerGraph) -> tuple[tuple[str, Factors], ...]:
    factors = {record.name: factors_of(record.activity_regularizer) for record in graph.layers}
    return tuple((name, each) for name, each in factors.items() if each and any(each))


#: Arguments of a call that change nothing at inference when they have these values.
_WITHOUT_EFFECT: tuple[tuple[str, object], ...] = (
    ("training", False),
    ("use_causal_mask", False),
    ("return_attention_scores", False),
    ("reverse", False),
)


def _named(node: Node, layer: KerasLayer) -> Node:
    """``node`` with its arguments under the names that ``layer`` knows; refuses those that it does
    not know.
    """
    options: dict[str, Argument] = {}
    for name, value in node.options:
        if isinstance(name, int):
            if name >= len(layer.arguments) or isinstance(layer, KerasGraph):
                raise LayerRefused(f"it is called with {name + 1} positional arguments")
            name = layer.arguments[name]
        if (name, value) not in _WITHOUT_EFFECT and not (
            name == "training" and layer.ignores_training()
        ):
            options[name] = value
    inputs = options.pop(layer.arguments[0], node.inputs)
    if inputs is None:
        raise LayerRefused(f"it is called without its argument {layer.arguments[0]!r}")
    unknown = sorted(name for name in options if not layer.takes(str(name)))
    if unknown:
        raise LayerRefused(f"it is called with {', '.join(unknown)}, which is not supported")
    return Node(node.layer, inputs, tuple(sorted(options.items())))


def _build_inner(
    graph: LayerGraph, path: tuple[str, ...], refusals: list[Refusal], model: KerasModel
) -> KerasLayer:
    items = graph.outputs if isinstance(graph.outputs, tuple) else (graph.outputs,)
    if not all(isinstance(item, TensorRef) for item in items):
        raise LayerRefused(
            "an inner model that returns a dictionary or lists within lists is not supported"
        )
    return _build_graph(graph, path, refusals, model)


def _build_layer(record: LayerRecord, live: LiveLayer) -> KerasLayer:
    if record.problem:
        raise LayerRefused(record.problem)
    policy = "" if record.is_operation else policy_name(record.config.get("dtype"))
    if any(kind in policy for kind in ("int8", "int4", "float8", "gptq", "awq")):
        raise LayerRefused(f"it is quantized (dtype policy {policy})")
    config = LayerConfig(record.config, live)
    converter = registry.find(record.key, live)
    try:
        layer = converter(config)
        config.finish()
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise LayerRefused(
            f"its configuration is not as expected ({type(error).__name__}: {error})"
        ) from error
    return layer


nested.builds_models(build)
