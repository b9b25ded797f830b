"""What lmjax exports of each protocol, for the tests that run every implementation: whatever a face
names is among it, so that there is no list to be kept.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import lmjax

#: Options that differ from the defaults, or have none, by the name of the field: a scale at which
#: some residuals of the problems are outliers at the start, outputs that are logits, a loss to be
#: wrapped, and a function that serves as residual and as loss.
CHOSEN: dict[str, Any] = {
    "scale": 0.5,
    "from_logits": True,
    "loss": lmjax.losses.MeanSquaredError(),
    "axis": -1,
    "function": lambda targets, outputs: ((outputs - targets) ** 2).sum(),
}


def _exported(protocol: type) -> tuple[Any, ...]:
    """An instance of each class of the faces that inherits from the protocol."""
    named = [getattr(face, name) for face in (lmjax, lmjax.losses) for name in face.__all__]
    return tuple(
        kind(**{field.name: CHOSEN[field.name] for field in _fields(kind) if field.name in CHOSEN})
        for kind in named
        if isinstance(kind, type) and protocol in kind.__mro__
    )


def _fields(kind: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()


RULES = _exported(lmjax.extend.DampingRule)
SCALINGS = _exported(lmjax.extend.Scaling)
SOLVERS = _exported(lmjax.extend.LinearSolver)
CHOICES = _exported(lmjax.extend.LinearSolverChoice)
ROBUST = _exported(lmjax.extend.RobustLoss)
LOSSES = _exported(lmjax.extend.Loss)
