"""Keras models as pure Flax functions, and their trained parameters back into Keras."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.public import *  # noqa: F403 - which has the one list of what there is


def __getattr__(name: str) -> Any:
    # JAX and Flax take a second to load, in which nobody catches Ctrl-C for the command line; it imports them itself.
    if name == "__all__" or not name.startswith("_"):
        if find_spec(f"{__name__}.{name}") is not None:
            return import_module(f"{__name__}.{name}")
        public = import_module("bridge.public")
        if name in ("__all__", *public.__all__):
            globals().update({offered: getattr(public, offered) for offered in ("__all__", *public.__all__)})
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("bridge.public").__all__})
