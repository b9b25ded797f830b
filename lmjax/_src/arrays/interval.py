"""The ends of intervals."""

from __future__ import annotations

from typing import NamedTuple

from lmjax._src.typing import PyTree


class Interval(NamedTuple):
    """Two trees of one structure: the ends of intervals."""

    lower: PyTree
    upper: PyTree
