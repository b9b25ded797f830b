"""Whether an object that was passed as an option has all that the option's protocol asks for."""

from __future__ import annotations

import functools
import re
from typing import Any, Protocol

import jax


@functools.cache
def members(protocol: type) -> dict[str, Any]:
    """What a protocol asks for: its members by name, with those of the protocols that it inherits
    from.
    """
    found: dict[str, Any] = {}
    for base in reversed(protocol.__mro__):
        if getattr(base, "_is_protocol", False) and base is not Protocol:
            found |= dict.fromkeys(vars(base).get("__annotations__", {})) | vars(base)
    return {name: member for name, member in found.items() if not name.startswith("_")}


def check(value: Any, protocol: type, option: str, *, hashed: bool = True) -> None:
    """Checks that ``value``, passed as ``option``, has every member of ``protocol``, and a hash, by
    which compiled steps are found again.

    Raises:
        ValueError: it has not; the message names the option, what is missing, and what to do.
    """
    offered = f"lmjax.extend.{protocol.__name__}"
    if isinstance(value, type):
        raise ValueError(
            f"{option}: expected {_article(offered)}, got the class {value.__name__} itself; "
            f"call it, {value.__name__}(), for an instance"
        )
    asked = members(protocol)
    missing = [name for name, member in asked.items() if not _has(value, name, member)]
    if missing:
        defaults = [name for name in missing if _is_default(asked[name])]
        inherit = f"; a class that inherits from {offered} has " + _listed(asked, defaults)
        raise ValueError(
            f"{option}: expected {_article(offered)}, got {value!r} without "
            f"{_listed(asked, missing)}{inherit if defaults else ''}"
        )
    if hashed:
        check_hash(value, option)


def check_hash(value: Any, option: str) -> None:
    """Checks that ``value`` has a hash.

    Raises:
        ValueError: it has none; the message says what to do.
    """
    try:
        hash(value)
    except TypeError as error:
        raise ValueError(
            f"{option}: {type(value).__name__} has no hash, by which its compiled steps are found "
            f"again ({error}); make it a frozen dataclass, @dataclasses.dataclass(frozen=True), "
            "of fields that have one, such as numbers, strings and tuples"
        ) from None


def check_pytree(value: Any, option: str, advice: str) -> None:
    """Checks that ``value`` is a pytree, whose arrays are data of a compiled step.

    Raises:
        ValueError: it is none; the message ends with the ``advice``.
    """
    if jax.tree_util.all_leaves([value]):
        raise ValueError(f"{option}: {type(value).__name__} is no pytree; {advice}")


def _has(value: Any, name: str, member: Any) -> bool:
    if not hasattr(value, name):
        return False
    return callable(getattr(value, name)) or not callable(member)


def _is_default(member: Any) -> bool:
    return member is not None and not getattr(member, "__isabstractmethod__", False)


def _listed(asked: dict[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name}()" if callable(asked[name]) else name for name in names)


def _article(name: str) -> str:
    last = name.rsplit(".", 1)[-1]
    return f"{'an' if re.match('[AEIOU]', last) else 'a'} {name}"
