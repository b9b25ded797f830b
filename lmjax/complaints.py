"""Warnings, which point to the caller's own line."""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType

from lmjax.status import Status

_PACKAGE = os.path.dirname(__file__) + os.sep


class ConvergenceWarning(UserWarning):
    """A run ended without a minimum; the message says why and what to do.

    A program of one's own makes it an error by ``warnings.simplefilter("error", lmjax.ConvergenceWarning)``, or leaves it out by "ignore"
    and looks at the status.
    """


#: Ends that the caller asked for.
_ASKED_FOR = (Status.INTERRUPTED, Status.STOPPED)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the first line on the stack that is not in this package."""
    frame: FrameType | None = sys._getframe(1)
    level = 2  # of that frame, as ``warnings.warn`` counts
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warn_of_failure(name: str, status: Status) -> None:
    """Says that the call of that ``name`` found no minimum, unless it did, or was asked to end before."""
    if not (status.success or status in _ASKED_FOR):
        warn(f"{name}: no minimum was found. {status.message}", ConvergenceWarning)
