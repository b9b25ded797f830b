"""Configurations that Keras 2 (``tf_keras``) or the HDF5 format wrote, in the words of Keras 3.

They differ in three ways: Keras' own classes come without their module, calls of a Functional model
are lists of tensors in place of arguments, and a few names mean something else (``hard_sigmoid``,
``alpha``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bridge._src.description.config import MODELS, is_serialized_layer
from bridge._src.description.identity import is_own, key_of
from bridge._src.description.keras2_names import renamed_activation
from bridge._src.layers.registry import is_known
from bridge._src.module import shipped  # noqa: F401 - fills the registry
from bridge._src.operations.tables import operation_of
from bridge._src.typing import Config, Serialized

#: Convolutions for which Keras 2 writes ``groups`` although they have none.
_WITHOUT_GROUPS = ("Separable", "Depthwise", "Transpose")
_RENAMED = {("LeakyReLU", "alpha"): "negative_slope"}


def upgrade(serialized: Config, keras_version: str) -> Config:
    """``serialized`` (canonical) as Keras 3 would describe the same model.

    Args:
        serialized: A model in the ``.keras`` or the HDF5 form, of Keras 2 or 3.
        keras_version: The version that wrote it; what starts with ``2`` or ``1`` is Keras 2.
    """
    return _layer(serialized, keras_version.split(".")[0] in ("1", "2"))


def _layer(serialized: Config, old: bool) -> Config:
    key = key_of(serialized)
    named = dict(serialized)
    if serialized.get("module") is None and serialized.get("registered_name") is None:
        if is_own(key) and (key in MODELS or is_known(key)):
            named["module"] = "keras" if key in MODELS else "keras.layers"
        else:  # so that nobody has to find out again whose it is
            named["registered_name"] = f"Custom>{key}" if is_own(key) else key
    config = named.get("config")
    if not isinstance(config, Mapping):
        return named
    if old:
        config = _options(key, config)
    # The layers of a model once only, or the time of models in models doubles with each level.
    layers = config.get("layers") if key in MODELS else None
    config = {
        option: _value(value, old)
        for option, value in config.items()
        if option != "layers" or not isinstance(layers, tuple)
    }
    if isinstance(layers, tuple):  # some of which do not say that they are trainable
        operations = [_operation(layer) for layer in layers]
        config["layers"] = tuple(
            _layer(layer, old) if isinstance(layer, Mapping) else layer for layer in operations
        )
    if key in MODELS and "input_layers" in config:
        named["class_name"] = "Functional"
        config |= _wiring(config)
    return named | {"config": config}


def _operation(layer: Serialized) -> Serialized:
    """``layer`` with the module that HDF5 files leave out where it is a function of ``keras.ops``,
    which has no ``trainable``.
    """
    config = layer.get("config") if isinstance(layer, Mapping) else None
    if (
        not isinstance(config, Mapping)
        or layer.get("module") is not None
        or "name" not in config
        or "trainable" in config
    ):
        return layer
    found = operation_of(str(layer.get("class_name")), set(config) - {"name"})
    return (
        layer
        if found is None or layer.get("registered_name") is not None
        else {**layer, "module": f"keras.src.ops.{found}"}
    )


def _value(value: Serialized, old: bool) -> Serialized:
    if is_serialized_layer(value) or (
        isinstance(value, Mapping) and value.get("class_name") in MODELS
    ):
        return _layer(value, old)
    if isinstance(value, Mapping):
        return {key: _value(item, old) for key, item in value.items()}
    return tuple(_value(item, old) for item in value) if isinstance(value, tuple) else value


def _options(key: str, config: Config) -> dict[str, Any]:
    """The options of a layer with Keras 3's names; the layer is known by its key."""
    named = {_RENAMED.get((key, option), option): value for option, value in config.items()}
    if key == "MultiHeadAttention":
        named["keeps_masks"] = True  # that of Keras 3 deletes the masks of its inputs
    if is_own(key) and any(kind in key for kind in _WITHOUT_GROUPS) and named.get("groups") == 1:
        del named["groups"]
    return {
        option: renamed_activation(value) if option.endswith("activation") else value
        for option, value in named.items()
    }


def _wiring(config: Config) -> dict[str, Any]:
    """Layers and outputs of a Functional model whose calls are lists, with calls as arguments."""
    layers = config["layers"]
    if not any(
        isinstance(call, tuple) for layer in layers for call in layer.get("inbound_nodes", ())
    ):
        return {}
    layers = tuple(_function_of_tensorflow(layer) for layer in layers)
    first = _first_calls(config, layers)
    functional = {str(layer["name"]) for layer in layers if key_of(layer) == "Functional"}

    def output(leaf: tuple[Serialized, ...]) -> tuple[Serialized, ...]:
        # Keras 3 numbers the calls of an inner Functional model from 1 in this one place, and so
        # does the reader.
        return (leaf[0], leaf[1] - first[leaf[0]] + (leaf[0] in functional), leaf[2])

    calls = [
        {"inbound_nodes": tuple(_call(call, first) for call in layer.get("inbound_nodes", ()))}
        for layer in layers
    ]
    return {
        "layers": tuple({**layer, **call} for layer, call in zip(layers, calls, strict=True)),
        "output_layers": _mapped(config["output_layers"], output),
    }


def _function_of_tensorflow(layer: Config) -> Config:
    """``layer`` with slices as Keras 3 writes them, and without names of TensorFlow's nodes, where
    it is a function of TensorFlow.
    """
    if layer.get("class_name") not in ("TFOpLambda", "SlicingOpLambda"):
        return layer
    return {
        **layer,
        "inbound_nodes": tuple(_with_slices(call) for call in layer.get("inbound_nodes", ())),
    }


def _with_slices(value: Serialized) -> Serialized:
    if isinstance(value, Mapping):
        if set(value) == {"start", "stop", "step"}:
            return {"class_name": "__slice__", "config": value}
        return {key: _with_slices(item) for key, item in value.items() if key != "name"}
    return tuple(_with_slices(item) for item in value) if isinstance(value, tuple) else value


def _first_calls(config: Config, layers: Serialized) -> dict[str, int]:
    """The number of each layer's first call: Keras 2 leaves the call that made an inner model out
    of the file, but counts it.
    """
    counts = {str(layer["name"]): len(layer.get("inbound_nodes", ())) for layer in layers}
    first = dict.fromkeys(counts, 0)
    used = [leaf for layer in layers for leaf in _leaves(layer.get("inbound_nodes", ()))]
    for name, number, *_ in [*used, *_leaves(config["output_layers"])]:
        if counts.get(name) and number >= counts[name]:
            first[name] = 1
    return first


#: What stands in the place of a layer's name where Keras 2 writes a constant: (name, -1, constant,
#: other arguments).
_CONSTANT = "_CONSTANT_VALUE"


def _is_leaf(value: Serialized) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and value[0] != _CONSTANT
        and all(isinstance(number, int) and not isinstance(number, bool) for number in value[1:3])
    )


def _leaves(value: Serialized) -> Iterator[tuple[Serialized, ...]]:
    if _is_leaf(value):
        yield value
        value = value[3] if len(value) == 4 else ()
    for item in (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    ):
        yield from _leaves(item)


def _mapped(
    value: Serialized, function: Callable[[tuple[Serialized, ...]], Serialized]
) -> Serialized:
    if _is_leaf(value):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, function) for key, item in value.items()}
    return tuple(_mapped(item, function) for item in value) if isinstance(value, tuple) else value


def _call(call: Serialized, first: Mapping[str, int]) -> Serialized:
    if not isinstance(call, tuple):
        return call

    def tensor(leaf: tuple[Serialized, ...]) -> dict[str, Any]:
        return {
            "class_name": "__keras_tensor__",
            "config": {"keras_history": (leaf[0], leaf[1] - first[leaf[0]], leaf[2])},
        }

    if call and call[0] == _CONSTANT:  # a function of TensorFlow whose first argument is no tensor
        named = call[3] if len(call) > 3 and isinstance(call[3], Mapping) else {}
        return {
            "args": (call[2],),
            "kwargs": {name: _mapped(value, tensor) for name, value in named.items()},
        }
    single = _is_leaf(call)
    leaves = [call] if single else list(call)
    options: dict[str, Any] = {}
    for leaf in leaves:
        if _is_leaf(leaf) and len(leaf) == 4 and isinstance(leaf[3], Mapping):
            options |= leaf[3]
    inputs = _mapped(
        tuple(
            leaf[2] if isinstance(leaf, tuple) and leaf[:1] == (_CONSTANT,) else leaf
            for leaf in call
        )
        if not single
        else call,
        tensor,
    )
    if not single and len(leaves) == 1:
        inputs = inputs[0]
    return {
        "args": (inputs,),
        "kwargs": {name: _mapped(value, tensor) for name, value in options.items()},
    }
