"""From a serialized Keras model (the dictionaries of ``config.json``) to the layer graph.

Live models and files go through this one parser, so that both give the same graph. Nothing is
imported or executed: a class is only a name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bridge._src.description.constants import ARRAYS
from bridge._src.description.errors import ConversionError
from bridge._src.description.functional import is_operation, read_nodes
from bridge._src.description.graph import InputSpec, LayerGraph, LayerRecord, Node, TensorRef
from bridge._src.description.identity import key_of
from bridge._src.typing import Config, Serialized

#: What Keras writes beside a serialized object depending on when it was written.
_INCIDENTAL = ("shared_object_id", "build_config", "compile_config")
MODELS = ("Sequential", "Functional", "Model")
#: The layer that stands for an input.
INPUT = "InputLayer"


def canonical(value: Serialized, wrapped: bool = False) -> Serialized:
    """``value`` with Keras' wrappers for tuples and arrays opened, all sequences as tuples, numbers
    as Python's own.

    Arrays keep their wrapper, which knows their dtype, where ``wrapped`` is set: among the
    arguments of calls, and in what describes a function of ``keras.ops``.
    """
    if isinstance(value, Mapping):
        opened = ("__tuple__", "TensorShape", *(() if wrapped else ARRAYS))
        if value.get("class_name") in opened:
            inner = value.get("items", value.get("config", {}))  # "items" in HDF5 files
            return canonical(
                inner.get("value", ()) if isinstance(inner, Mapping) else inner, wrapped
            )
        dropped = _INCIDENTAL if "class_name" in value else ()
        wrapped = wrapped or is_operation(value)
        return {
            str(key): canonical(item, wrapped or key == "inbound_nodes")
            for key, item in value.items()
            if key not in dropped
        }
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if hasattr(value, "as_datatype_enum"):  # a dtype of TensorFlow
        return value.name
    if hasattr(value, "tolist"):
        return canonical(value.tolist())
    if isinstance(value, (list, tuple)):
        return tuple(canonical(item, wrapped) for item in value)
    return value


def is_serialized_layer(value: Serialized) -> bool:
    """Whether ``value`` describes a layer (and not an initializer, a regularizer, a dtype policy,
    …).
    """
    config = value.get("config") if isinstance(value, Mapping) else None
    return isinstance(config, Mapping) and "name" in config and "trainable" in config


def snake_case(class_name: str) -> str:
    """Keras' spelling of a class name in a weights file: ``PReLU`` is ``p_re_lu``, ``Conv1D`` is
    ``conv1d``.
    """
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


#: Classes that Keras exports under another name than their own; files of weights have their own.
_CLASSES = {"GroupQueryAttention": "GroupedQueryAttention"}


def saved_names(class_names: Sequence[str]) -> list[str]:
    """Group names in a weights file of layers that stand beside each other: ``dense``, ``dense_1``,
    …
    """
    seen: Counter[str] = Counter()
    names = []
    for class_name in class_names:
        name = snake_case(_CLASSES.get(class_name, class_name))
        names.append(f"{name}_{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def is_model(serialized: Config) -> bool:
    """Whether a serialized layer is a Sequential or Functional model."""
    return key_of(serialized) in MODELS and "layers" in serialized.get("config", {})


def read_record(serialized: Config, saved_name: str) -> LayerRecord:
    """The record of one serialized layer; ``serialized`` is canonical."""
    config = serialized.get("config") or {}
    graph = read_graph(serialized) if is_model(serialized) else None
    class_name = str(serialized.get("class_name"))
    name = str(serialized.get("name") or config.get("name") or saved_name)
    if graph is not None:
        config = {key: config[key] for key in ("name", "trainable") if key in config}
    return LayerRecord(
        name, class_name, key_of(serialized), config, saved_name, graph, serialized.get("problem")
    )


def read_graph(serialized: Config) -> LayerGraph:
    """The graph of a serialized Sequential or Functional model; ``serialized`` is canonical.

    Raises:
        ConversionError: when the model is of another kind, was never built, or is not connected.
    """
    config = serialized.get("config")
    if not isinstance(config, Mapping) or not is_model(serialized):
        raise ConversionError(
            f"a model of class {serialized.get('class_name')!r} cannot be converted: only "
            "Sequential and Functional models have a layer graph; a subclassed model has to be "
            "rebuilt as one of them"
        )
    layers = [layer for layer in config["layers"] if isinstance(layer, Mapping)]
    return (
        _read_functional(config, layers)
        if "input_layers" in config
        else _read_sequential(config, layers)
    )


def _read_sequential(config: Config, layers: list[Config]) -> LayerGraph:
    name = str(config.get("name"))
    chain = [layer for layer in layers if key_of(layer) != INPUT]
    if not chain and not layers:
        raise ConversionError(f"model {name!r} has no layers; add some with model.add(...)")
    names = saved_names([str(layer["class_name"]) for layer in chain])
    records: dict[str, LayerRecord] = {}
    nodes: list[Node] = []
    for position, (layer, saved_name) in enumerate(zip(chain, names, strict=True)):
        record = read_record(layer, saved_name)
        records.setdefault(record.name, record)
        nodes.append(Node(record.name, TensorRef(position - 1, 0 if position == 0 else None)))
    spec = _sequential_input(name, config, layers, next(iter(records.values()), None))
    return LayerGraph(
        name,
        tuple(records.values()),
        tuple(nodes),
        (spec,),
        TensorRef(len(nodes) - 1, None),
        trainable=config.get("trainable", True),
    )


def _sequential_input(
    name: str, config: Config, layers: list[Config], record: LayerRecord | None
) -> InputSpec:
    first = layers[0]
    if key_of(first) == INPUT:
        return input_spec(first)
    shape = config.get("build_input_shape")
    if (
        shape is None
        and record is not None
        and record.graph is not None
        and len(record.graph.inputs) == 1
    ):
        return record.graph.inputs[0]
    if not isinstance(shape, tuple):
        raise not_built(name)
    return InputSpec("input", shape[1:], "float32")


def input_spec(serialized: Config) -> InputSpec:
    """The specification of a serialized InputLayer."""
    config = serialized["config"]
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if not isinstance(shape, tuple) or not all(
        size is None or isinstance(size, int) for size in shape
    ):
        raise ConversionError(f"input {config.get('name')!r} has no usable shape: {shape!r}")
    if config.get("sparse") or config.get("ragged"):
        raise ConversionError(
            f"input {config.get('name')!r} is sparse or ragged; only dense inputs can be converted"
        )
    dtype = config.get("dtype") or "float32"
    return InputSpec(
        str(config.get("name")),
        shape[1:],
        dtype if isinstance(dtype, str) else policy_name(dtype),
        shape[0] if shape else None,
    )


def policy_name(dtype: Serialized) -> str:
    """The name of a serialized dtype policy (``"float32"``, ``"mixed_float16"``)."""
    if isinstance(dtype, Mapping):
        inner = dtype.get("config", {})
        if not isinstance(inner, Mapping):
            return "float32"
        if "mode" in inner:  # a quantized one, which Keras names so
            return f"{inner['mode']}_from_{inner.get('source_name')}"
        return str(inner.get("name", "float32"))
    return str(dtype)


def not_built(name: str) -> ConversionError:
    """The error for a model whose weights do not exist yet."""
    return ConversionError(
        f"model {name!r} is not built, so it has no weights yet; give it a "
        "keras.Input(shape=...) as its first layer, or call model.build((None, ...)) or the "
        "model itself on data before converting it"
    )


def _read_functional(config: Config, layers: list[Config]) -> LayerGraph:
    # The operations of keras.ops stand among the layers of the graph, but not in the file of
    # weights.
    names = iter(
        saved_names([str(layer["class_name"]) for layer in layers if not is_operation(layer)])
    )
    records = [read_record(layer, "" if is_operation(layer) else next(names)) for layer in layers]
    inputs = {
        record.name: input_spec(layer)
        for record, layer in zip(records, layers, strict=True)
        if record.key == INPUT
    }
    wiring = read_nodes(config, layers, records)
    return LayerGraph(
        str(config.get("name")),
        tuple(
            replace(record, problem=wiring.problems.get(record.name, record.problem))
            for record in records
            if record.name not in inputs
        ),
        wiring.nodes,
        tuple(inputs[name] for name in wiring.input_names),
        wiring.outputs,
        config.get("trainable", True),
    )
