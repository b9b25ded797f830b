"""Whose an object is that Keras serializes: Keras' own, or another's that may bear the same name.

Layers, losses, activations, regularizers, constraints, metrics and initializers are known by a
*key*. Keras' own have their name alone (``Dense``, ``mean_squared_error``); all others have a
package in front of it, as in Keras' registry (``my_package>Dense``): ``Custom``, Keras' default,
where they were registered without one or not at all.

A live object is Keras' own if the module that it comes from is one of Keras' and holds it under its
name. A serialized one is known by the module and the registered name beside its own; a bare name
stands for what Keras itself finds under it. So a function of the user's that was saved under the
very name of one of Keras' is lost to Keras' own loader, too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from bridge._src.description.written_options import lacks_written_options
from bridge._src.typing import Config, KerasModel

#: The packages that are Keras: 3 on any backend, and 2.
PACKAGES = ("keras", "tf_keras")
#: What Keras keeps apart; one of another kind is another thing, whatever its name.
KINDS = (
    "layers",
    "losses",
    "metrics",
    "activations",
    "regularizers",
    "constraints",
    "initializers",
)
#: Keras' package in front of a module, ``.src`` included.
_PACKAGE = re.compile(rf"({'|'.join(PACKAGES)})(\.src)?(\.|$)")
#: Functions of ``keras.losses`` and ``keras.metrics``, which files hold by name only. Keras writes
#: these names, never its aliases (``mse``), under which only functions of others appear; and its
#: own activations as bare names, never as functions.
FUNCTIONS = (
    *(
        "binary_accuracy",
        "binary_crossentropy",
        "binary_focal_crossentropy",
        "categorical_accuracy",
        "categorical_crossentropy",
    ),
    *(
        "categorical_focal_crossentropy",
        "categorical_generalized_cross_entropy",
        "categorical_hinge",
        "circle",
    ),
    *(
        "concordance_correlation",
        "cosine_similarity",
        "ctc",
        "dice",
        "hinge",
        "huber",
        "kl_divergence",
        "log_cosh",
    ),
    *(
        "mean_absolute_error",
        "mean_absolute_percentage_error",
        "mean_squared_error",
        "mean_squared_logarithmic_error",
    ),
    *(
        "pearson_correlation",
        "poisson",
        "sparse_categorical_accuracy",
        "sparse_categorical_crossentropy",
    ),
    *(
        "sparse_top_k_categorical_accuracy",
        "squared_hinge",
        "top_k_categorical_accuracy",
        "tversky",
    ),
)


def key_of(thing: Any, kind: str = "layers") -> str:
    """The key of an object of :data:`KINDS`: live (a class, an object of it, or a function) or as
    Keras serializes it.
    """
    if isinstance(thing, str):
        return thing
    return (
        _key_of_serialized(thing, kind) if isinstance(thing, Mapping) else _key_of_live(thing, kind)
    )


def is_own(key: str) -> bool:
    """Whether ``key`` is that of one of Keras' own."""
    return ">" not in key


def is_keras(module: Any) -> bool:
    """Whether a module, by its name, belongs to Keras."""
    return isinstance(module, str) and _PACKAGE.match(module) is not None


def package_of(named: Any) -> str | None:
    """The Keras package that a live class (or one that it derives from) or function is of; None for
    other objects.
    """
    modules = (
        [base.__module__ for base in named.__mro__]
        if isinstance(named, type)
        else [getattr(named, "__module__", None)]
    )
    return next((str(module).split(".")[0] for module in modules if is_keras(module)), None)


def keras_of(thing: Any) -> Any:
    """The Keras that a live object is of; it is imported already."""
    return sys.modules[str(package_of(type(thing)))]


def stand_in(thing: Any, name: str | None = None) -> dict[str, Any]:
    """What a file can hold of a live object that is not Keras' own: whose it is, under its own or
    another ``name``.
    """
    key = key_of(thing) if name is None else f"Custom>{name}"
    return {
        "module": getattr(thing, "__module__", None),
        "class_name": "function",
        "config": key,
        "registered_name": key,
    }


def overridden(model: KerasModel, methods: tuple[str, ...]) -> list[str]:
    """Those of ``methods`` that are not Keras' own in a live model or layer."""
    return [
        name for name in methods if name in vars(model) or not is_keras(_definer(type(model), name))
    ]


def described(thing: Any, kind: str = "layers") -> str:
    """An object in words: the name of one of Keras', and the name of another with where it comes
    from.
    """
    key = key_of(thing, kind)
    if is_own(key):
        return key
    package, _, name = key.partition(">")
    module = (
        thing.get("module")
        if isinstance(thing, Mapping)
        else getattr(_named(thing), "__module__", None)
    )
    if module not in (None, "builtins"):
        return f"{name!r} of module {module}"
    return f"{name!r} of your own" if package == "Custom" else f"{name!r} of package {package}"


def _definer(cls: type, name: str) -> str | None:
    """The module of the class that gives ``cls`` its ``name``; Keras' if there is none."""
    return next((base.__module__ for base in cls.__mro__ if name in vars(base)), PACKAGES[0])


def _named(thing: Any) -> Any:
    """A class or function itself, and the class of another object."""
    return (
        thing
        if isinstance(thing, type) or isinstance(getattr(thing, "__name__", None), str)
        else type(thing)
    )


def _key_of_live(thing: Any, kind: str) -> str:
    named = _named(thing)
    name, module = str(named.__name__), str(getattr(named, "__module__", None))
    if is_keras(module) and getattr(sys.modules.get(module), name, None) is named:
        return name if _holds(module, kind) else f"{module}>{name}"
    return _registered(named) or f"Custom>{name}"


def _registered(named: Any) -> str | None:
    """The name with its package under which something is registered with a Keras that is loaded."""
    for package in PACKAGES:
        saving = getattr(sys.modules.get(package), "saving", None)
        if saving is not None and ">" in (name := str(saving.get_registered_name(named))):
            return name
    return None


def _key_of_serialized(serialized: Config, kind: str) -> str:
    name, module, registered = (
        serialized.get(part) for part in ("class_name", "module", "registered_name")
    )
    config = serialized.get("config")
    if name == "__lambda__":
        return "Custom><lambda>"
    # Functions that JAX has compiled have a class of their own.
    if name == "function" or isinstance(config, str):
        return _key_of_function(str(config), kind)
    if is_keras(module):
        return str(name) if _holds(str(module), kind) else f"{module}>{name}"
    if ">" in str(registered or name):
        return str(registered or name)
    if module is None and registered is None and not lacks_written_options(str(name), config, kind):
        return str(name)  # of Keras 2, or of an HDF5 file
    return f"Custom>{name}"


def _key_of_function(name: str, kind: str) -> str:
    own = name in FUNCTIONS and kind in ("losses", "metrics")
    return name if own or ">" in name else f"Custom>{name}"


def _holds(module: str, kind: str) -> bool:
    """Whether Keras' ``module`` is one of those with objects of ``kind``."""
    folder = _PACKAGE.sub("", module, count=1).split(".")[0]
    if kind == "layers":
        return folder not in ("ops", *KINDS[1:])
    return folder in ("", kind) or (kind == "metrics" and folder == "losses")
