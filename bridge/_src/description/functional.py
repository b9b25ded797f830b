"""The wiring of a serialized Functional model: which call receives which tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from bridge._src.description.constants import decoded
from bridge._src.description.errors import ConversionError
from bridge._src.description.execution_order import execution_order
from bridge._src.description.graph import Argument, LayerRecord, Named, Node, TensorRef, Tensors
from bridge._src.typing import Config, Serialized
from lmjax._src.typing import PyTree

#: A call as Keras names it: layer and number of the call.
_Call = tuple[str, int]


#: Layers that Keras 2 puts into the graph for functions of TensorFlow.
OF_TENSORFLOW = ("TFOpLambda", "SlicingOpLambda")


class Wiring(NamedTuple):
    """Calls in a valid order, the order of the inputs, the outputs, and calls that cannot be
    expressed (by layer).
    """

    nodes: tuple[Node, ...]
    input_names: tuple[str, ...]
    outputs: Tensors
    problems: dict[str, str]


def read_nodes(config: Config, layers: Sequence[Config], records: Sequence[LayerRecord]) -> Wiring:
    """The wiring of ``config``, whose ``layers`` were read into ``records``.

    Raises:
        ConversionError: when a tensor is used that no call produces.
    """
    input_names = tuple(name for name, _, _ in _leaves(config["input_layers"]))
    tensors = {(name, 0): TensorRef(-1, position) for position, name in enumerate(input_names)}
    calls: dict[_Call, _Arguments] = {}
    problems: dict[str, str] = {}
    for layer, record in zip(layers, records, strict=True):
        for number, call in enumerate(layer.get("inbound_nodes", ())):
            try:
                calls[record.name, number] = _arguments(
                    call, is_operation(layer) or record.key in OF_TENSORFLOW
                )
            except ValueError as problem:
                calls[record.name, number] = _Arguments((), ())
                problems[record.name] = str(problem)
    outputs = config["output_layers"]
    # Keras numbers the calls of an inner Functional model from 1 in this one place.
    numbered_from_one = {record.name for record in records if record.key == "Functional"}
    returned = [
        (name, number - (name in numbered_from_one)) for name, number, _ in _leaves(outputs)
    ]
    nodes = _in_order(str(config.get("name")), calls, tensors, returned)

    def resolve(value: Serialized) -> Tensors:
        if isinstance(value, Mapping):
            return Named(tuple(value), tuple(resolve(item) for item in value.values()))
        if not _is_leaf(value):
            return tuple(resolve(item) for item in value)
        name, number, index = value
        call = tensors.get((name, number - (name in numbered_from_one)))
        if call is None:
            raise ConversionError(
                f"model {config.get('name')!r} returns a tensor of layer {name!r} that is "
                "never computed"
            )
        return TensorRef(call.node, index if call.node >= 0 else call.index)

    found = resolve(outputs)
    # Keras returns what stands in a list of one, and some versions write it so.
    if isinstance(found, tuple) and len(found) == 1:
        found = found[0]
    return Wiring(tuple(nodes), input_names, found, problems)


def _is_leaf(value: Serialized) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and isinstance(value[0], str)


def _leaves(value: Serialized) -> list[tuple[str, int, int]]:
    if _is_leaf(value):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value
    return [leaf for item in items for leaf in _leaves(item)]


class _Leaf(NamedTuple):
    """A tensor as Keras names it: layer, number of the call, index of the output."""

    layer: str
    call: int
    output: int


class _Arguments(NamedTuple):
    """The first argument of a call (None if it has a name), and the others; tensors are leaves."""

    inputs: PyTree
    options: tuple[tuple[str | int, Any], ...]


def is_operation(serialized: Config) -> bool:
    """Whether ``serialized`` is a function of ``keras.ops`` in a Functional model's graph, and not
    a layer.
    """
    return str(serialized.get("module")).startswith("keras.src.ops.")


def _arguments(call: Serialized, of_operation: bool) -> _Arguments:
    """The arguments of a serialized call; raises ValueError with the reason when they cannot be
    expressed.
    """
    if not isinstance(call, Mapping):
        raise ValueError(
            "it was saved in the format of an old Keras version; load the model with "
            "Keras and save it again"
        )
    args = [_argument(value) for value in call.get("args", ())]
    named = [(str(name), _argument(value)) for name, value in call.get("kwargs", {}).items()]
    options: list[tuple[str | int, Any]] = [*enumerate(args[1:], 1), *named]
    if not any(_tensors((args, [value for _, value in options]))):
        raise ValueError("it is called with something that is no tensor of the model")
    # For a layer (None, None) are two masks that are not there; for a function it may be an index.
    kept = tuple(
        (name, value)
        for name, value in options
        if value is not None and (of_operation or not _is_empty(value))
    )
    return _Arguments(args[0] if args else None, kept)


def _argument(value: Serialized) -> Any:
    if isinstance(value, Mapping):
        if value.get("class_name") != "__keras_tensor__":
            return decoded(value)
        return _Leaf(*value["config"]["keras_history"])
    return tuple(_argument(item) for item in value) if isinstance(value, tuple) else value


def _is_empty(value: Serialized) -> bool:
    """Whether ``value`` is None, or a tuple of nothing else."""
    return value is None or (
        isinstance(value, tuple) and not isinstance(value, _Leaf) and all(map(_is_empty, value))
    )


def _tensors(value: Serialized) -> Iterator[_Leaf]:
    if isinstance(value, _Leaf):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _in_order(
    model: str,
    calls: dict[_Call, _Arguments],
    tensors: dict[_Call, TensorRef],
    outputs: Sequence[_Call],
) -> list[Node]:
    """The calls in the order in which Keras runs them; fills ``tensors`` with their outputs."""
    _check_connected(model, calls, set(tensors))
    parents = {
        call: [leaf[:2] for leaf in _tensors(arguments) if leaf[:2] in calls]
        for call, arguments in calls.items()
    }
    nodes: list[Node] = []
    for call in execution_order(
        [call for call in outputs if call in calls], parents, itemgetter(0)
    ):
        tensors[call] = TensorRef(len(nodes))
        options = tuple((name, _resolved(tensors, value)) for name, value in calls[call].options)
        nodes.append(Node(call[0], _resolved(tensors, calls[call].inputs), options))
    return nodes


def _check_connected(model: str, calls: Mapping[_Call, _Arguments], computed: set[_Call]) -> None:
    """Raises :class:`ConversionError` when some call waits for tensors that are never computed, or
    for itself.
    """
    missing = {
        call: {leaf[:2] for leaf in _tensors(arguments)} - computed
        for call, arguments in calls.items()
    }
    followers: dict[_Call, list[_Call]] = {}
    for call, inputs in missing.items():
        for parent in inputs:
            followers.setdefault(parent, []).append(call)
    ready = [call for call, inputs in missing.items() if not inputs]
    for call in ready:  # grows while it is read
        for follower in followers.get(call, ()):
            missing[follower].discard(call)
            if not missing[follower]:
                ready.append(follower)
    if len(ready) < len(calls):
        waiting = sorted({name for (name, _), inputs in missing.items() if inputs})
        raise ConversionError(f"the layers of model {model!r} are not connected: {waiting[:8]}")


def _resolved(tensors: dict[_Call, TensorRef], value: Serialized) -> Argument:
    """``value`` with references in place of its leaves."""
    if isinstance(value, _Leaf):
        call = tensors[value[:2]]
        return call if call.node < 0 else TensorRef(call.node, value.output)
    return tuple(_resolved(tensors, item) for item in value) if isinstance(value, tuple) else value
