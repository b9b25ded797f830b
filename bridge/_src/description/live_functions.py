"""Puts the functions of a live model where its serialized form has only their names.

Keras writes an activation by its name, under which a file may hold one of Keras' or the user's. A
live layer has the function itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge._src.description.identity import is_own, keras_of, key_of, package_of, stand_in
from bridge._src.typing import Config, LiveLayer, Serialized


@dataclass(frozen=True)
class LiveFunction:
    """A function in the place where the configuration of a live layer has the name of an
    activation.

    Attributes:
        function: what the layer calls.
        package: the Keras package that the layer is of.
    """

    function: Callable[..., Any]
    package: str


#: Options of layers that are held under another name.
_ATTRIBUTES = {"layer": "forward_layer"}


def with_functions(layer: LiveLayer, serialized: Config) -> dict[str, Any]:
    """``serialized``, with a :class:`LiveFunction` for each activation in ``layer`` that is not one
    of its own Keras'.
    """
    config = serialized.get("config")
    if not isinstance(config, Mapping):
        return dict(serialized)
    options = {option: _option(layer, option, value) for option, value in config.items()}
    backward = getattr(layer, "backward_layer", None)
    if (
        backward is not None
        and options.get("backward_layer") is None
        and options["layer"] != config["layer"]
    ):
        # Keras makes it from what the forward layer writes, and so with its own function where only
        # the name was written.
        options["backward_layer"] = with_functions(
            backward, keras_of(layer).saving.serialize_keras_object(backward)
        )
    return {**serialized, "config": options}


def without_functions(value: Serialized) -> Serialized:
    """``value`` as a file can hold it: with a stand-in for every :class:`LiveFunction`, which says
    whose the function is.
    """
    if isinstance(value, LiveFunction):
        return stand_in(value.function)
    if isinstance(value, Mapping):
        return {key: without_functions(item) for key, item in value.items()}
    return tuple(map(without_functions, value)) if isinstance(value, tuple) else value


def _option(layer: LiveLayer, option: str, value: Serialized) -> Serialized:
    held = getattr(layer, option, None)
    if held is None and option in _ATTRIBUTES:
        held = getattr(layer, _ATTRIBUTES[option], None)
    if option.endswith("activation") and callable(held) and _is_foreign(held, layer):
        return LiveFunction(held, str(package_of(type(layer))))
    if isinstance(value, (list, tuple)) and isinstance(held, (list, tuple)):
        by_name = {getattr(inner, "name", None): inner for inner in held}
        return [_inner(item, by_name) for item in value]
    return _inner(value, {getattr(held, "name", None): held})


def _inner(value: Serialized, held: Mapping[Any, Any]) -> Any:
    """``value``, and if it is a serialized layer among those that are ``held``, with its
    functions.
    """
    config = value.get("config") if isinstance(value, Mapping) else None
    name = config.get("name") if isinstance(config, Mapping) else None
    return with_functions(held[name], value) if isinstance(name, str) and name in held else value


def _is_foreign(held: Any, layer: LiveLayer) -> bool:
    """Whether ``held`` is a function, but none of the activations of the Keras that ``layer`` is
    of.
    """
    if package_of(type(held)) is not None:  # a layer
        return False
    return not is_own(key_of(held, "activations")) or package_of(held) != package_of(type(layer))
