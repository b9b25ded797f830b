"""Keras' regularizers as its configurations describe them."""

from __future__ import annotations

from collections.abc import Mapping

from bridge._src.description.identity import key_of
from bridge._src.typing import Config, Serialized


def l2_factor(regularizer: Serialized) -> float | None:
    """The factor of Σ factor · w² in a serialized regularizer, 0 for None; None for anything that
    is no sum of squares.
    """
    if regularizer is None:
        return 0.0
    options = options_of(regularizer)
    if (
        key_of(regularizer, "regularizers") not in ("L2", "L1L2")
        or float(options.get("l1") or 0.0) != 0.0
    ):
        return None
    return float(options.get("l2") or 0.0)


def options_of(serialized: Serialized) -> Config:
    """The options of a serialized object; none where it has none, as a function."""
    config = serialized.get("config") if isinstance(serialized, Mapping) else None
    return config if isinstance(config, Mapping) else {}
