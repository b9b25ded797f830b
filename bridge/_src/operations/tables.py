"""The table of ``keras.ops``, filled: each module here enters its functions when it is imported."""

from __future__ import annotations

from bridge._src.operations import (  # noqa: F401
    activations,
    algebra,
    arranging,
    colours,
    elementwise,
    images,
    making,
    networks,
    picking,
    reductions,
    refusals,
    spectra,
    windows,
)
from bridge._src.operations.refusals import NO_FUNCTIONS
from bridge._src.operations.table import REFUSED, TABLE, Function, operation_of

__all__ = ["NO_FUNCTIONS", "REFUSED", "TABLE", "Function", "operation_of"]
