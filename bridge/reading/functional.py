"""The wiring of a serialized Functional model: which call receives which tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bridge.errors import ConversionError
from bridge.graph import LayerRecord, Node, TensorRef, Tensors

Config = Mapping[str, Any]
#: A call as Keras names it: layer and number of the call.
_Call = tuple[str, int]


class Wiring(NamedTuple):
    """Calls in a valid order, the order of the inputs, the outputs, and calls that cannot be expressed (by layer)."""

    nodes: tuple[Node, ...]
    input_names: tuple[str, ...]
    outputs: Tensors
    output_names: tuple[str, ...] | None
    problems: dict[str, str]


def read_nodes(config: Config, layers: Sequence[Config], records: Sequence[LayerRecord]) -> Wiring:
    """The wiring of ``config``, whose ``layers`` were read into ``records``.

    Raises:
        ConversionError: when a tensor is used that no call produces.
    """
    input_names = tuple(name for name, _, _ in _leaves(config["input_layers"]))
    tensors = {(name, 0): TensorRef(-1, position) for position, name in enumerate(input_names)}
    calls: dict[_Call, Any] = {}
    problems: dict[str, str] = {}
    for layer, record in zip(layers, records, strict=True):
        for number, call in enumerate(layer.get("inbound_nodes", ())):
            inputs, problem = _call_inputs(call)
            calls[record.name, number] = inputs
            if problem:
                problems[record.name] = problem
    nodes = _in_order(str(config.get("name")), calls, tensors)

    def resolve(leaf: Any) -> TensorRef:
        name, number, index = leaf
        # Keras numbers the calls of an inner Functional model from 1 in this one place.
        first = 1 if any(record.name == name and record.class_name == "Functional" for record in records) else 0
        call = tensors.get((name, number - first))
        if call is None:
            raise ConversionError(f"model {config.get('name')!r} returns a tensor of layer {name!r} that is never computed")
        return TensorRef(call.node, index if call.node >= 0 else call.index)

    outputs = config["output_layers"]
    names = tuple(outputs) if isinstance(outputs, Mapping) else None
    single = not isinstance(outputs, Mapping) and _is_leaf(outputs)
    resolved = tuple(resolve(leaf) for leaf in _leaves(outputs))
    return Wiring(tuple(nodes), input_names, resolved[0] if single else resolved, names, problems)


def _is_leaf(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and isinstance(value[0], str)


def _leaves(value: Any) -> list[tuple[str, int, int]]:
    if _is_leaf(value):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value
    return [leaf for item in items for leaf in _leaves(item)]


def _history(value: Any) -> tuple[str, int, int] | None:
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        name, number, index = value["config"]["keras_history"]
        return name, number, index
    return None


def _call_inputs(call: Any) -> tuple[Any, str | None]:
    """The tensors of a call (one, or a tuple of several), and why the call cannot be expressed, if so."""
    if not isinstance(call, Mapping):
        return (), "it was saved in the format of an old Keras version; load the model with Keras and save it again"
    args = call.get("args", ())
    kwargs = {key: value for key, value in call.get("kwargs", {}).items() if value is not None and (key, value) != ("training", False)}
    if len(args) != 1 or kwargs:
        given = f"{len(args)} positional arguments" + (f" and {', '.join(sorted(kwargs))}" if kwargs else "")
        return (), f"it is called with {given}; only calls with one tensor or one list of tensors are supported"
    single = _history(args[0])
    if single is not None:
        return single, None
    several = tuple(_history(item) for item in args[0]) if isinstance(args[0], tuple) else ()
    if not several or None in several:
        return (), "it is called with something that is no tensor of the model"
    return several, None


def _in_order(model: str, calls: dict[_Call, Any], tensors: dict[_Call, TensorRef]) -> list[Node]:
    """The calls sorted so that each one comes after those it depends on; fills ``tensors`` with their outputs."""
    nodes: list[Node] = []
    waiting = dict(calls)
    while waiting:
        ready = [call for call, inputs in waiting.items() if all(leaf[:2] in tensors for leaf in _call_leaves(inputs))]
        if not ready:
            raise ConversionError(f"the layers of model {model!r} are not connected: {sorted({name for name, _ in waiting})}")
        for call in ready:
            inputs = waiting.pop(call)
            refs = tuple(_ref(tensors, leaf) for leaf in _call_leaves(inputs))
            tensors[call] = TensorRef(len(nodes))
            nodes.append(Node(call[0], refs[0] if _is_leaf(inputs) else refs))
    return nodes


def _call_leaves(inputs: Any) -> list[tuple[str, int, int]]:
    return [inputs] if _is_leaf(inputs) else list(inputs)


def _ref(tensors: dict[_Call, TensorRef], leaf: tuple[str, int, int]) -> TensorRef:
    call = tensors[leaf[:2]]
    return call if call.node < 0 else TensorRef(call.node, leaf[2])
