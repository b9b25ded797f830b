"""Keras' regularizers as its configurations describe them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bridge._src.description.identity import key_of
from bridge._src.typing import Config, Serialized

#: Regularizers that are sums over the numbers of a weight, one by one.
_SUMS = ("L1", "L2", "L1L2")


class Factors(NamedTuple):
    """Of Σ l1 |w| + l2 w²."""

    l1: float = 0.0
    l2: float = 0.0


def factors_of(regularizer: Serialized) -> Factors | None:
    """The factors of a serialized regularizer, zeros for None; None for one that is no sum of sizes
    and squares.
    """
    if regularizer is None:
        return Factors()
    key, options = key_of(regularizer, "regularizers"), options_of(regularizer)
    if key not in _SUMS:
        return None
    return Factors(*(float(options.get(name) or 0.0) for name in Factors._fields))


def options_of(serialized: Serialized) -> Config:
    """The options of a serialized object; none where it has none, as a function."""
    config = serialized.get("config") if isinstance(serialized, Mapping) else None
    return config if isinstance(config, Mapping) else {}
