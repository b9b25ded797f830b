"""Warnings, which point to the caller's own line."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import FrameType

import jax

#: The folders of the package ``lmjax``, and of JAX, whose lines lie between ours in a trace.
_NOT_THE_CALLERS = (
    str(Path(__file__).parents[2]) + os.sep,
    str(Path(str(jax.__file__)).parent) + os.sep,
)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the first line on the stack that is neither in this package nor in JAX."""
    frame: FrameType | None = sys._getframe(1)
    level = 2  # of that frame, as ``warnings.warn`` counts
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THE_CALLERS):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
