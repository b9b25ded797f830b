"""What a Keras model adds to its loss, and what it demands of its weights, beside the data."""

from __future__ import annotations

from typing import Any

from bridge.errors import ConversionError
from bridge.flax_model import FlaxModel
from bridge.weights import nest


def l2_factors(model: FlaxModel) -> dict[str, Any] | None:
    """The factors of the L2 penalty Σ factor · w² as a tree of numbers beside ``model.params``; None without any.

    Keras counts the regularizers of trainable weights only, and so does this.

    Raises:
        ConversionError: naming every regularizer that is no sum of squares, and every constraint.
    """
    faults = [f"{entry.name}: constraint {_name(entry.constraint)}" for entry in model.table.trainable if entry.constraint is not None]
    faults += [f"{layer}: activity regularizer {_name(regularizer)}" for layer, regularizer in model.graph.activity_regularizers().items()]
    factors: dict[tuple[str, ...], float] = {}
    for entry in model.table.trainable:
        factor = 0.0 if entry.regularizer is None else _l2(entry.regularizer)
        if factor is None:
            faults.append(f"{entry.name}: regularizer {_name(entry.regularizer)}")
        else:
            factors[entry.path] = factor
    if faults:
        lines = "".join(f"\n  - {fault}" for fault in faults)
        raise ConversionError(
            "the model cannot be trained by Levenberg-Marquardt as it is, which serves L2 weight regularizers and no constraints; "
            f"build it without these:{lines}"
        )
    return nest(factors) if any(factors.values()) else None


def _l2(regularizer: Any) -> float | None:
    """The L2 factor of a serialized Keras regularizer; None if it is anything else."""
    config = dict(regularizer.get("config") or {})
    if _name(regularizer) not in ("L2", "L1L2") or float(config.get("l1") or 0.0) != 0.0:
        return None
    return float(config.get("l2") or 0.0)


def _name(serialized: Any) -> str:
    return str(serialized.get("class_name", serialized)) if hasattr(serialized, "get") else str(serialized)
