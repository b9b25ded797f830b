"""Where a tree does not fit another one, in a caller's words."""

from __future__ import annotations

from collections.abc import Iterator

import jax

from lmjax._src.typing import PyTree


def mismatch(tree: PyTree, given: PyTree, name: str = "params") -> str | None:
    """Where ``given``, which may end in leaves or None earlier, has other entries than ``tree`` of
    that ``name``; None where it has not, in the containers of Python.
    """
    if given is None or jax.tree_util.all_leaves([given]):
        return None
    if isinstance(tree, dict) and isinstance(given, dict):
        parts = [f"{name}[{key!r}] was given none" for key in tree if key not in given]
        parts += [f"there is no {name}[{key!r}]" for key in given if key not in tree]
        if parts:
            return ", and ".join(parts[:4]) + (" and others" if len(parts) > 4 else "")
        return _first(mismatch(tree[key], given[key], f"{name}[{key!r}]") for key in tree)
    if isinstance(tree, (list, tuple)) and type(tree) is type(given):
        if len(tree) != len(given):
            return f"{name} has {len(tree)} entries, and was given {len(given)}"
        return _first(
            mismatch(one, other, f"{name}[{index}]")
            for index, (one, other) in enumerate(zip(tree, given, strict=True))
        )
    if type(tree) is not type(given):
        return f"{name} is of type {type(tree).__name__}, and was given a {type(given).__name__}"
    return None


def _first(found: Iterator[str | None]) -> str | None:
    return next((each for each in found if each is not None), None)
