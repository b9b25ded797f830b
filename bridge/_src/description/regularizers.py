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


class Orthogonal(NamedTuple):
    """Of Keras' ``OrthogonalRegularizer``."""

    factor: float
    by_columns: bool


def orthogonal_of(regularizer: Serialized) -> Orthogonal | None:
    """What a serialized ``OrthogonalRegularizer`` says; None for any other regularizer."""
    if regularizer is None or key_of(regularizer, "regularizers") != "OrthogonalRegularizer":
        return None
    # The defaults of Keras' constructor, which serve where a regularizer is but a name.
    options = options_of(regularizer)
    return Orthogonal(float(options.get("factor", 0.01)), options.get("mode") == "columns")


def orthogonal_fault(regularizer: Serialized, shape: tuple[int, ...]) -> str | None:
    """Why an ``OrthogonalRegularizer`` is none of a weight of this shape; None where it is, and for
    any other regularizer.
    """
    asked = orthogonal_of(regularizer)
    if asked is None:
        return None
    if len(shape) != 2:
        return (
            f"regularizer OrthogonalRegularizer of a weight of shape {shape}, which Keras itself "
            "takes for matrices (rank 2) only"
        )
    if shape[int(asked.by_columns)] < 2:
        mode = "columns" if asked.by_columns else "rows"
        return (
            f"regularizer OrthogonalRegularizer with mode='{mode}' of a weight of shape {shape}, "
            f"which has no pair of {mode}: the loss is NaN in Keras"
        )
    return None


def options_of(serialized: Serialized) -> Config:
    """The options of a serialized object; none where it has none, as a function."""
    config = serialized.get("config") if isinstance(serialized, Mapping) else None
    return config if isinstance(config, Mapping) else {}
