"""Keras' regularizers as its configurations describe them."""

from __future__ import annotations

from typing import Any


def l2_factor(regularizer: Any) -> float | None:
    """The factor of Σ factor · w² in a serialized regularizer, 0 for None; None for anything that is no sum of squares."""
    if regularizer is None:
        return 0.0
    config = dict(regularizer.get("config") or {}) if hasattr(regularizer, "get") else {}
    if serialized_name(regularizer) not in ("L2", "L1L2") or float(config.get("l1") or 0.0) != 0.0:
        return None
    return float(config.get("l2") or 0.0)


def serialized_name(serialized: Any) -> str:
    """The class name of a serialized object."""
    return str(serialized.get("class_name", serialized)) if hasattr(serialized, "get") else str(serialized)
