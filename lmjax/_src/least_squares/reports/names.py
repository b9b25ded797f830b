"""What the parameters are called in a report."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.tree_util import DictKey, GetAttrKey, SequenceKey

from lmjax._src.arrays.structure import Structure


def first_names(structure: Structure, most: int) -> list[str]:
    """The names of the first ``most`` entries of the vector: ``rate`` or ``layer.kernel[0, 2]``
    where all keys are identifiers, else as :meth:`Structure.name` has them.
    """
    return list(itertools.islice(_names(structure), most))


def array_names(structure: Structure) -> list[str]:
    """What the arrays are called, with all keys of their paths."""
    paths = jax.tree_util.tree_flatten_with_path(
        jax.tree.unflatten(structure.treedef, range(len(structure.shapes)))
    )[0]
    names = [f"params{jax.tree_util.keystr(path)}" for path, _ in paths]
    return [name if name.isprintable() else ascii(name)[1:-1] for name in names]


def _names(structure: Structure) -> Iterator[str]:
    paths = jax.tree_util.tree_flatten_with_path(
        jax.tree.unflatten(structure.treedef, range(len(structure.shapes)))
    )[0]
    for (path, _), shape in zip(paths, structure.shapes, strict=True):
        name = _plain(path)
        if name is None:
            name = f"params{jax.tree_util.keystr(path)}"
        for index in range(math.prod(shape)):
            within = ", ".join(str(k) for k in np.unravel_index(index, shape)) if shape else ""
            whole = name + (f"[{within}]" if within else "")
            # Keys of classes of a caller's own may print as anything.
            yield whole if whole.isprintable() else ascii(whole)[1:-1]


def _plain(path: tuple[Any, ...]) -> str | None:
    """The path with dots between identifiers; None where it begins otherwise, or holds others."""
    name = ""
    for key in path:
        if isinstance(key, SequenceKey) and name:
            name += f"[{key.idx}]"
            continue
        part = getattr(key, "key" if isinstance(key, DictKey) else "name", None)
        if not (
            isinstance(key, (DictKey, GetAttrKey)) and isinstance(part, str) and part.isidentifier()
        ):
            return None
        name += f".{part}" if name else part
    return name or None
