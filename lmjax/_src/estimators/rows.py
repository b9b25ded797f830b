"""Arrays of similar lengths as arrays of one length, for which one program is compiled."""

from __future__ import annotations

import numpy as np

from lmjax._src.typing import NumpyArray

#: Lengths from one power of two to the next: up to a sixteenth is added, and the folds of a
#: cross-validation, which differ by a row, mostly have one length.
_LENGTHS = 16


def rounded_up(count: int) -> int:
    """The least of the lengths that hold ``count`` rows."""
    power = 1 << (max(count - 1, 1).bit_length() - 1)  # the greatest one below
    step = max(power // _LENGTHS, 1)
    return -(-count // step) * step


def repeated_to(length: int, array: NumpyArray) -> NumpyArray:
    """``length`` rows, the last of which are the last one again."""
    return np.asarray(array)[np.minimum(np.arange(length), len(array) - 1)]


def zeros_to(length: int, weights: NumpyArray) -> NumpyArray:
    """``length`` weights, the last of which are zero."""
    return np.concatenate([weights, np.zeros(length - len(weights), weights.dtype)])
