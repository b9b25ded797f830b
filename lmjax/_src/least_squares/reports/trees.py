"""Trees of arrays as values of JSON, bit for bit, and back."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from lmjax._src.typing import NumpyArray, PyTree

#: Numbers in one file at the most.
MAX_NUMBERS = 2**21

#: Containers within containers at the most.
_MAX_DEPTH = 32

_DTYPES = ("float32", "float64")
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class DamagedError(ValueError):
    """A file does not say what it should; the message says where."""


def number_as_json(value: float) -> float | str:
    """JSON has no infinity and no NaN; these become words."""
    return value if math.isfinite(value) else repr(value)


def number_from_json(value: Any, where: str) -> float:
    """What :func:`number_as_json` gave.

    Raises:
        DamagedError: it is no number.
    """
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise DamagedError(f"a number of {where} is beyond all numbers") from None
    raise DamagedError(f"{where} should be a number")


def as_json(tree: PyTree) -> Any:
    """A tree of dicts with text as keys, lists, tuples and None; None itself for any other
    tree.
    """
    try:
        return _encoded(tree)
    except TypeError:
        return None


def array_as_json(array: NumpyArray) -> dict[str, Any]:
    """Values, shape and dtype."""
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "values": [number_as_json(value) for value in array.ravel().tolist()],
    }


def _encoded(tree: PyTree) -> Any:
    if tree is None:
        return {"none": []}
    if type(tree) is dict:
        if not all(isinstance(key, str) for key in tree):
            raise TypeError("keys")
        return {"dict": [[key, _encoded(value)] for key, value in tree.items()]}
    for kind in (list, tuple):
        if type(tree) is kind:
            return {kind.__name__: [_encoded(value) for value in tree]}
    if not jax.tree_util.all_leaves([tree]):
        raise TypeError("a class of the caller's")
    return array_as_json(np.asarray(tree))


def from_json(value: Any, depth: int = 0) -> PyTree:
    """What :func:`as_json` gave.

    Raises:
        DamagedError: it is none.
    """
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        raise DamagedError("params should be containers and arrays, not nested too deeply")
    if "values" in value:
        return array_from_json(value, "params")
    (kind, entries) = next(iter(value.items()), ("", None)) if len(value) == 1 else ("", None)
    if kind not in ("none", "dict", "list", "tuple") or not isinstance(entries, list):
        raise DamagedError("params holds something that is neither a container nor an array")
    if kind == "none":
        return None
    if kind != "dict":
        values = [from_json(each, depth + 1) for each in entries]
        return tuple(values) if kind == "tuple" else values
    if not all(
        isinstance(each, list) and len(each) == 2 and isinstance(each[0], str) for each in entries
    ):
        raise DamagedError("a dict of params should be pairs of text and a value")
    if len({key for key, _ in entries}) != len(entries):
        raise DamagedError("a dict of params has a key twice")
    return {key: from_json(each, depth + 1) for key, each in entries}


def array_from_json(value: Any, where: str) -> NumpyArray:
    """What :func:`array_as_json` gave.

    Raises:
        DamagedError: it is none.
    """
    if not isinstance(value, dict) or set(value) != {"shape", "dtype", "values"}:
        raise DamagedError(f"an array of {where} should have shape, dtype and values")
    shape, dtype, values = value["shape"], value["dtype"], value["values"]
    if dtype not in _DTYPES:
        raise DamagedError(f"an array of {where} should be of {' or '.join(_DTYPES)}")
    if not (
        isinstance(shape, list)
        and len(shape) <= _MAX_DEPTH
        and all(type(n) is int and 0 <= n <= MAX_NUMBERS for n in shape)
        and isinstance(values, list)
        and math.prod(shape) == len(values) <= MAX_NUMBERS
    ):
        raise DamagedError(f"an array of {where} has values that do not fit its shape")
    numbers = [number_from_json(each, where) for each in values]
    with np.errstate(over="ignore"):
        return np.asarray(numbers, dtype).reshape(shape)
