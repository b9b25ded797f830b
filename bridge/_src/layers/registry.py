"""The registry of layer converters: which Keras class becomes which Flax module.

A converter is a function ``(config) -> flax.linen.Module``; the modules shipped here register their
``from_config``. The key is the class name as Keras writes it (``"Dense"``), or, for a user's own
layer, its registered name (``"package>Class"``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from bridge._src.description.errors import LayerRefused
from bridge._src.description.identity import key_of
from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.typing import LiveLayer
from lmjax._src.typing import TreeFn

Converter = Callable[[LayerConfig], KerasLayer]
_Layer = TypeVar("_Layer", bound=type[KerasLayer])
_Converter = TypeVar("_Converter", bound=Converter)

_CONVERTERS: dict[str, Converter] = {}
_REFUSED: dict[str, str] = {}


def add(class_name: str, converter: Converter) -> None:
    """Registers ``converter`` under ``class_name``; a second one under the same name is an
    error.
    """
    if class_name in _CONVERTERS:
        raise ValueError(
            f"a converter for {class_name!r} is registered already; "
            f"bridge.unregister_converter({class_name!r}) removes it"
        )
    _CONVERTERS[class_name] = converter


def converts(*class_names: str) -> Callable[[_Layer], _Layer]:
    """Class decorator of the modules shipped here: registers ``from_config`` under each Keras class
    name.
    """

    def register(layer: _Layer) -> _Layer:
        for class_name in class_names:
            add(class_name, layer.from_config)
        return layer

    return register


def refuse(class_name: str, reason: str) -> None:
    """Records why a Keras class is refused, so that the error can say more than "no converter"."""
    _REFUSED[class_name] = reason


def remove(class_name: str) -> None:
    """Removes the converter of ``class_name``, if there is one."""
    _CONVERTERS.pop(class_name, None)


def find(class_name: str, live: LiveLayer = None) -> Converter:
    """The converter of ``class_name``; raises :class:`LayerRefused` with the reason when there is
    none.

    Args:
        class_name: The key.
        live: The live Keras layer, if there is one; the ways that the message names depend on it.
    """
    try:
        return _CONVERTERS[class_name]
    except KeyError:
        # Only a layer of Keras 3 has a stateless call that could be run.
        running = (
            ", bridge.run_in_keras lets Keras compute it" if hasattr(live, "stateless_call") else ""
        )
        adding = f"bridge.register_converter({class_name!r}) adds one{running}"
        reason = _REFUSED.get(class_name, f"no converter is registered for this class; {adding}")
        raise LayerRefused(reason) from None


def is_known(class_name: str) -> bool:
    """Whether ``class_name`` is one of Keras' own layers: has a converter under its plain name, or
    is refused on purpose.
    """
    return class_name in _CONVERTERS or class_name in _REFUSED


def is_registered(class_name: str) -> bool:
    """Whether there is a converter of ``class_name``."""
    return class_name in _CONVERTERS


def supported() -> tuple[str, ...]:
    """The registered class names, sorted."""
    return tuple(sorted(_CONVERTERS))


def refused() -> dict[str, str]:
    """Class names that are refused on purpose, with the reason."""
    return dict(_REFUSED)


def key_for(layer: str | type | TreeFn) -> str:
    """The registry key of a Keras class or a function, or of a name as :func:`register_converter`
    takes it.
    """
    if isinstance(layer, str):
        return layer
    return key_of(layer, "layers" if isinstance(layer, type) else "activations")


def register_converter(
    layer: str | type | TreeFn,
) -> Callable[[_Converter], _Converter]:
    """Decorator: registers a function that turns a Keras layer config into a Flax module.

    The function receives a :class:`bridge.layers.LayerConfig` and returns a
    :class:`bridge.layers.KerasLayer`; it raises :class:`LayerRefused` with the reason when it
    cannot convert exactly. An option that it neither reads nor ignores
    (``config.ignore("option")``) refuses the layer.

    Args:
        layer: A Keras layer class, or its name: ``"Dense"`` for Keras' own, ``"package>Class"`` for
            others (``"Custom>Class"`` for a class registered without a package, or not at all). Or
            a function that layers have as their activation, or its name, likewise;
            :class:`bridge.layers.FunctionLayer` is a module for one.

    Returns:
        The decorator, which returns the function that it registers.

    Raises:
        TypeError: when the converter is no function.
        ValueError: when the class has a converter already.

    Example:
        A layer that scales its inputs by an option.

        >>> import keras
        >>> import lmjax.keras
        >>> @keras.saving.register_keras_serializable(package="laboratory")
        ... class Scale(keras.layers.Layer):
        ...     def __init__(self, factor=1.0, **options):
        ...         super().__init__(**options)
        ...         self.factor = factor
        ...
        ...     def call(self, x):
        ...         return self.factor * x
        ...
        ...     def get_config(self):
        ...         return {**super().get_config(), "factor": self.factor}
        >>> class FlaxScale(lmjax.keras.layers.KerasLayer):
        ...     factor: float
        ...
        ...     def __call__(self, inputs, mask=None):
        ...         return self.factor * inputs
        >>> @lmjax.keras.register_converter("laboratory>Scale")
        ... def scale(config):
        ...     return FlaxScale(factor=config["factor"])
        >>> model = keras.Sequential([keras.Input((2,)), Scale(3.0)])
        >>> lmjax.keras.verify(model).error < 1e-6
        True
        >>> lmjax.keras.unregister_converter("laboratory>Scale")
    """

    def register(converter: _Converter) -> _Converter:
        add(key_for(layer), _checked(converter))
        return converter

    return register


def _checked(converter: Converter) -> Converter:
    """A user's ``converter``, of which what it returns is checked."""
    if not callable(converter) or isinstance(converter, type):
        raise TypeError(
            "converter: expected a function of a bridge.layers.LayerConfig that returns a "
            f"bridge.layers.KerasLayer, got {converter!r}"
            + (", a class; its from_config is one" if isinstance(converter, type) else "")
        )

    converter_name = getattr(converter, "__name__", repr(converter))

    @functools.wraps(converter)
    def convert(config: LayerConfig) -> KerasLayer:
        layer: Any = converter(config)
        if not isinstance(layer, KerasLayer):
            raise LayerRefused(
                f"its converter {converter_name} returned {type(layer).__name__}; it has to return "
                "a bridge.layers.KerasLayer"
            )
        try:
            hash(layer)
        except TypeError as error:
            raise LayerRefused(
                f"its converter {converter_name} returned a {type(layer).__name__} without a hash, "
                f"by which compiled functions are found again ({error}); make its fields numbers, "
                "strings and tuples"
            ) from None
        return layer

    return convert


def unregister_converter(layer: str | type | TreeFn) -> None:
    """Removes a converter, if there is one.

    Args:
        layer: A class, a function or a name, as for :func:`register_converter`.

    Example:
        >>> import jax.numpy as jnp
        >>> import lmjax.keras
        >>> @lmjax.keras.register_converter("laboratory>wave")
        ... def wave(config):
        ...     return lmjax.keras.layers.FunctionLayer(jnp.sin)
        >>> lmjax.keras.unregister_converter("laboratory>wave")
    """
    remove(key_for(layer))
