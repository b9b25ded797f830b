"""Keras models as pure Flax functions, and their trained parameters back into Keras."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Where lmjax.keras has loaded it before, nothing else would make it an attribute of this module.
from bridge import _src as _src

if TYPE_CHECKING:
    from bridge._src.public import *  # noqa: F403 - it has the one list of what there is


def __getattr__(name: str) -> Any:
    # JAX and Flax take a second to load, in which nobody catches Ctrl-C for the command line; it
    # imports them itself.
    if name == "layers":
        return import_module("bridge.layers")
    if name == "__all__":
        return _offered()
    if name == "__version__":
        return import_module("lmjax").__version__
    if not name.startswith("_") and name in _offered():
        public = import_module("bridge._src.public")
        globals().update({offered: getattr(public, offered) for offered in public.__all__})
        return globals()[name]
    raise AttributeError(f"module 'bridge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(["__doc__", "__version__", *_offered()])


def _offered() -> list[str]:
    return [*import_module("bridge._src.public").__all__, "layers"]
