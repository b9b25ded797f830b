"""How often functions are called, however they were imported."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def counted(*functions: Callable[..., Any]) -> Iterator[Counter[str]]:
    """The calls of ``functions`` within the block, by their names; those by themselves not."""
    names = {function.__code__: function.__qualname__ for function in functions}
    calls: Counter[str] = Counter()

    def seen(frame: Any, event: str, argument: Any) -> None:
        del argument
        if event == "call" and frame.f_code in names:
            caller = frame.f_back.f_code if frame.f_back else None
            calls[names[frame.f_code]] += caller is not frame.f_code

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        yield calls
    finally:
        sys.setprofile(before)
