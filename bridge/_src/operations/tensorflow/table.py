"""The table of TensorFlow's functions, filled: each module here enters its own when imported."""

from __future__ import annotations

from bridge._src.operations.tensorflow import arranging, mathematics  # noqa: F401
from bridge._src.operations.tensorflow.symbols import TENSORFLOW

__all__ = ["TENSORFLOW"]
