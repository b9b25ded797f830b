"""Functions that are none of ``keras.activations`` but were given to a live layer as its
activation.

Those of ``keras.ops`` and of TensorFlow are known, and computed by JAX. On Keras' JAX backend every
other one is a JAX function already, and is called as it is. What is left has a converter that the
user registered for it, or is refused.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bridge._src.description.errors import LayerRefused
from bridge._src.description.identity import PACKAGES, described, is_keras, is_own, key_of
from bridge._src.description.keras2_names import renamed_activation
from bridge._src.description.live_functions import LiveFunction
from bridge._src.layers import registry
from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.layers.function_layer import FunctionLayer, LiveCall
from bridge._src.typing import Serialized

#: TensorFlow's functions of one tensor, by their places below ``tensorflow``: names of activations,
#: or what JAX calls them.
_TENSORFLOW: Mapping[str, str | Callable[[jax.Array], jax.Array]] = {
    **{
        f"nn.{name}": name
        for name in (
            "elu",
            "gelu",
            "leaky_relu",
            "log_softmax",
            "relu",
            "relu6",
            "selu",
            "sigmoid",
            "silu",
            "softmax",
        )
    },
    **{f"nn.{name}": name for name in ("softplus", "softsign", "tanh")},
    **{
        f"math.{name}": getattr(jnp, name)
        for name in ("abs", "asinh", "atan", "ceil", "cos", "cosh", "exp", "expm1", "floor", "log")
    },
    **{
        f"math.{name}": getattr(jnp, name)
        for name in ("log1p", "negative", "sign", "sin", "sinh", "sqrt", "square", "tan")
    },
    "identity": "linear",
    "math.acos": jnp.arccos,
    "math.acosh": jnp.arccosh,
    "math.asin": jnp.arcsin,
    "math.atanh": jnp.arctanh,
    "math.erf": jax.lax.erf,
    "math.erfc": jax.lax.erfc,
    "math.log_sigmoid": "log_sigmoid",
    "math.reciprocal": jnp.reciprocal,
    "math.rsqrt": jax.lax.rsqrt,
}


def activation_of(value: Serialized) -> str | KerasLayer:
    """The activation for a :class:`LiveFunction`, or for what a file says of a function.

    Raises:
        LayerRefused: it is not known, and no converter is registered for it; the reason names it.
    """
    live = value.function if isinstance(value, LiveFunction) else None
    serialized = {"class_name": "function", "config": value} if isinstance(value, str) else value
    key = key_of(serialized if live is None else live, "activations")
    if registry.is_registered(key):
        return registry.find(key)(LayerConfig({"name": key.partition(">")[2]}, live))
    known = None if live is None else _known(live, key)
    if (
        known is None
        and isinstance(value, LiveFunction)
        and value.package == "keras"
        and _backend() == "jax"
    ):
        known = LiveCall(value.function)
    if known is None:
        whose = described(serialized if live is None else live, "activations")
        raise LayerRefused(
            f"activation {whose} is none of keras.activations; {_way_out(key, live is not None)}"
        )
    return known


def _way_out(key: str, is_live: bool) -> str:
    where = "it can be run on Keras' JAX backend only" if is_live else "its code is in no file"
    if key.endswith("<lambda>"):
        return (
            f"{where}; give it a name (def), and with bridge.register_converter a JAX "
            "function in place of it"
        )
    return f"{where}; bridge.register_converter({key!r}) puts a JAX function in place of it"


def _known(function: Callable[..., Any], key: str) -> str | KerasLayer | None:
    """A function of Keras' or TensorFlow's as an activation; None for any other, and where it is
    not known.
    """
    module = str(getattr(function, "__module__", ""))
    if is_keras(module):
        if is_own(key):
            return renamed_activation(key) if module.startswith("tf_keras") else key
        return _operation(function, module)
    tensorflow = sys.modules.get("tensorflow")
    if not module.startswith("tensorflow.") or tensorflow is None:
        return None
    found = next(
        (found for place, found in _TENSORFLOW.items() if _at(tensorflow, place) is function), None
    )
    return found if found is None or isinstance(found, str) else FunctionLayer(found)


def _operation(function: Callable[..., Any], module: str) -> KerasLayer | None:
    """A function of ``keras.ops`` as the operation that stands for it in a Functional model, with
    its default options.
    """
    name = function.__name__
    key = (
        f"{module}>{_OTHERWISE.get(name) or ''.join(part.capitalize() for part in name.split('_'))}"
    )
    _, *options = inspect.signature(function).parameters.values()
    config = LayerConfig({option.name: option.default for option in options})
    if not registry.is_registered(key) or inspect.Parameter.empty in config.values():
        return None
    operation = registry.find(key)(config)
    config.finish()
    return operation


#: Functions of ``keras.ops`` whose class is not called as they are.
_OTHERWISE = {"abs": "Absolute"}


def _at(package: Any, place: str) -> Any:
    for name in place.split("."):
        package = getattr(package, name, None)
    return package


def _backend() -> str:
    return str(sys.modules[PACKAGES[0]].backend.backend())
