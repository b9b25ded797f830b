"""Plain delegates: objects that offer what a protocol asks for, each member passed on to another
object, and nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax

from lmjax._src.runtime import contracts


def _passed_on(name: str, *, called: bool) -> Any:
    if not called:
        return property(lambda self: getattr(self.inner, name))

    def method(self: Any, *args: Any, **options: Any) -> Any:
        return getattr(self.inner, name)(*args, **options)

    return method


@functools.cache
def _delegate_class(protocol: type, beside: tuple[str, ...], is_pytree: bool) -> type:
    asked = contracts.members(protocol)
    body = {name: _passed_on(name, called=callable(member)) for name, member in asked.items()}
    body |= {name: _passed_on(name, called=True) for name in beside}
    made = dataclasses.make_dataclass(
        f"{protocol.__name__}Delegate", [("inner", Any)], frozen=True, namespace=body
    )
    if is_pytree:
        jax.tree_util.register_pytree_node(
            made, lambda one: ((one.inner,), None), lambda _, children: made(*children)
        )
    return made


def delegate(
    inner: Any, protocol: type, beside: tuple[str, ...] = (), is_pytree: bool = False
) -> Any:
    """A delegate of ``inner``, with the members of ``protocol`` and the methods named ``beside``."""
    return _delegate_class(protocol, beside, is_pytree)(inner)
