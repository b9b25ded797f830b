"""What a live Keras model (Keras 3 on any backend, tf.keras) says of its layer graph."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from bridge._src.description.config import INPUT, not_built
from bridge._src.description.errors import ConversionError
from bridge._src.description.identity import is_keras, keras_of, key_of, overridden
from bridge._src.description.live_functions import with_functions
from bridge._src.formats.description import Description, describe
from bridge._src.formats.live_operations import arrays_described
from bridge._src.typing import KerasModel, LiveLayer
from lmjax._src.arrays.foreign import on_host
from lmjax._src.typing import PyTree

#: Layers whose configuration is Python code, which is not read.
_FUNCTIONS = ("JaxLayer", "FlaxLayer")
#: What makes a model compute by Keras' own graph.
_CALLS = ("call", "__call__")
_UNREADABLE = (
    "its configuration cannot be read ({}); put a function with a name (def) in the place of "
    "a partial one, and give objects a get_config"
)


@contextmanager
def tensorflow_left_alone() -> Iterator[None]:
    """Within it Keras does not import TensorFlow merely to ask whether something is a TensorFlow
    object.

    Describing a layer makes Keras do that on every backend; it costs ten seconds. A process in
    which TensorFlow is loaded already is left as it is.
    """
    lazy = getattr(sys.modules.get("keras.src.utils.module_utils"), "tensorflow", None)
    if (
        lazy is None
        or "tensorflow" in sys.modules
        or getattr(lazy, "_available", False) is not None
    ):
        yield
        return
    lazy._available = False
    try:
        yield
    finally:
        lazy._available = None


def is_keras_model(model: KerasModel) -> bool:
    """Whether ``model`` is a live Keras model."""
    return any(
        base.__name__ == "Model" and is_keras(base.__module__) for base in type(model).__mro__
    )


def read_description(model: KerasModel) -> Description:
    """The description, without the loss, of a live Sequential or Functional model.

    Raises:
        ConversionError: when the model is not built, or of another kind.
    """
    kind = _kind(model)
    if kind is None:
        raise ConversionError(
            f"model {model.name!r} of class {type(model).__name__} defines its own call(); "
            "only Sequential and Functional models have a layer graph that can be converted"
        )
    if not getattr(model, "built", False) or not _has_inputs(model):
        raise not_built(model.name)
    serialized = _serialize(model)
    if "problem" in serialized:
        raise ConversionError(f"model {model.name!r}: {serialized['problem']}")
    return describe(
        with_functions(model, serialized),
        None,
        str(keras_of(model).__version__),
        f"model {model.name!r}",
    )


def plain_call(layer: LiveLayer, inputs: PyTree, **options: Any) -> PyTree:
    """What a live layer or model returns at inference, as NumPy arrays in Keras' structure."""
    return _as_numpy(layer(inputs, **options))


def _as_numpy(outputs: PyTree) -> PyTree:
    if isinstance(outputs, Mapping):
        return {key: _as_numpy(value) for key, value in outputs.items()}
    return (
        [_as_numpy(value) for value in outputs]
        if isinstance(outputs, (list, tuple))
        else np.array(np.asarray(on_host(outputs)))
    )


def _kind(model: KerasModel) -> str | None:
    """``"Sequential"`` or ``"Functional"`` when ``model`` runs by Keras' own graph, None when it
    has its own ``call``.
    """
    caller = next(base.__name__ for base in type(model).__mro__ if "call" in vars(base))
    return (
        caller if caller in ("Sequential", "Functional") and not overridden(model, _CALLS) else None
    )


def _has_inputs(model: KerasModel) -> bool:
    try:
        return bool(model.inputs)
    except (AttributeError, ValueError):
        return False


def _serialize(layer: LiveLayer) -> dict[str, Any]:
    """A layer as ``config.json`` would describe it, except that a layer used twice in a Sequential
    stays there twice.
    """
    kind = _kind(layer) if is_keras_model(layer) else None
    if kind == "Sequential":
        inputs = [tensor._keras_history[0] for tensor in layer.inputs] if _has_inputs(layer) else []
        chain = [_serialize(inner) for inner in [*inputs, *_chain(layer)]]
        config = {"name": layer.name, "trainable": layer.trainable, "layers": chain}
        return {"class_name": "Sequential", "module": "keras", "config": config}
    if key_of(layer) in _FUNCTIONS:
        options = {"name": layer.name, "trainable": layer.trainable}
        return {
            "class_name": type(layer).__name__,
            "module": "keras.layers",
            "registered_name": None,
            "config": options,
        }
    try:
        with arrays_described(layer):
            serialized = _described(layer, kind)
    except Exception as error:  # noqa: BLE001 - a user's get_config may raise anything; the layer is refused with it
        config = {"name": layer.name}
        described = {
            "class_name": type(layer).__name__,
            "module": None,
            "registered_name": None,
            "config": config,
        }
        return described | {
            "problem": _inner_problems(layer, kind)
            or _UNREADABLE.format(f"{type(error).__name__}: {error}")
        }
    if (
        key_of(layer) == "IntegerLookup"
        and serialized["config"].get("vocabulary") is None
        and layer.output_mode != "tf_idf"
    ):
        serialized["config"]["vocabulary"] = [
            int(word) for word in layer.get_vocabulary(include_special_tokens=False)
        ]
    if kind == "Functional":
        # Of a subclass whose constructor takes something else than inputs and outputs.
        if "layers" not in serialized["config"]:
            keras = keras_of(layer)
            return _serialize(
                keras.Model(layer.input, layer.output, name=layer.name, trainable=layer.trainable)
            )
        serialized |= {"class_name": "Functional", "module": "keras"}
        inner = {inner.name: inner for inner in layer.layers if is_keras_model(inner)}
        serialized["config"]["layers"] = [
            outer | _serialize(inner[outer["name"]]) if outer["name"] in inner else outer
            for outer in serialized["config"]["layers"]
        ]
    return serialized


def _inner_problems(model: KerasModel, kind: str | None) -> str:
    """What is wrong with the layers of a Functional model that cannot be described, each by its
    name.
    """
    layers = (
        [(layer, _serialize(layer).get("problem")) for layer in model.layers]
        if kind == "Functional"
        else []
    )
    return "; ".join(
        f"layer {layer.name} ({type(layer).__name__}): {problem}"
        for layer, problem in layers
        if problem
    )


def _described(layer: LiveLayer, kind: str | None) -> dict[str, Any]:
    """What Keras says of ``layer``."""
    keras = keras_of(layer)
    # tf_keras cannot put an ellipsis among the arguments of calls into words.
    if kind == "Functional" and keras.__name__ == "tf_keras":
        return {"class_name": "Functional", "module": "keras", "config": dict(layer.get_config())}
    serialized: dict[str, Any] = keras.saving.serialize_keras_object(layer)
    return serialized


def _chain(sequential: LiveLayer) -> list[LiveLayer]:
    """The layers of a Sequential in the order of their calls; Keras 2 lists a layer that is called
    twice only once.
    """
    by_depth = getattr(sequential, "_nodes_by_depth", None)
    if not by_depth or keras_of(sequential).__name__ == "keras":
        return list(sequential.layers)
    called = [node.layer for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [layer for layer in called if key_of(layer) != INPUT]
