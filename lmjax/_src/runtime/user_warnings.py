"""Warnings, which point to the caller's own line."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import FrameType

#: The folder of the package ``lmjax``.
_PACKAGE = str(Path(__file__).parents[2]) + os.sep


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the first line on the stack that is not in this package."""
    frame: FrameType | None = sys._getframe(1)
    level = 2  # of that frame, as ``warnings.warn`` counts
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
