"""All tables, filled: what the modules beside this one enter."""

from __future__ import annotations

from bridge.operations import (
    activations,
    algebra,
    arranging,
    elementwise,
    images,
    networks,
    reductions,
    refusals,
    spectra,
    tensorflow,
    windows,
)
from bridge.operations.refusals import NO_FUNCTIONS
from bridge.operations.table import REFUSED, TABLE, Function, operation_of
from bridge.operations.tensorflow import TENSORFLOW

__all__ = [
    "NO_FUNCTIONS",
    "REFUSED",
    "TABLE",
    "TENSORFLOW",
    "Function",
    "activations",
    "algebra",
    "arranging",
    "elementwise",
    "images",
    "networks",
    "operation_of",
    "reductions",
    "refusals",
    "spectra",
    "tensorflow",
    "windows",
]
