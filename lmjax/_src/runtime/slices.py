"""Running a compiled loop in slices from the host, so that long work can be watched and
interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from lmjax._src.runtime import interrupts

Carry = TypeVar("Carry")

#: Seconds that a slice should take: short enough for Ctrl-C to feel immediate, long enough that
#: neither the few tens of microseconds of a dispatch count, nor new memory: 13.5 million parameters
#: want a gigabyte, whose pages take 0.1 s to come.
SLICE_SECONDS = 1.0


def slices(
    advance: Callable[[Carry, int], Carry],
    carry: Carry,
    first: int,
    limit: int,
    pace: float | None = None,
) -> Iterator[tuple[Carry, int, float]]:
    """Calls ``advance(carry, steps)`` again and again, at a ``pace`` of one call every so
    many seconds, :data:`SLICE_SECONDS` if it is None.

    Args:
        advance: runs up to ``steps`` steps and returns when they are done (not merely dispatched).
        carry: what it starts from.
        first: the number of steps in the first slice, which may include compilation.
        limit: the most steps in a slice.
        pace: how long a slice should take.

    Yields:
        (carry, steps, seconds) after each slice, without end; the caller stops when it has enough.

    Raises:
        KeyboardInterrupt: a signal has come that :mod:`lmjax._src.runtime.interrupts` watches for.
    """
    steps = max(1, min(first, limit))
    compiled = False
    while True:
        interrupts.check()
        start = time.perf_counter()
        carry = advance(carry, steps)
        seconds = time.perf_counter() - start
        yield carry, steps, seconds
        if compiled:
            wanted = int(steps * (SLICE_SECONDS if pace is None else pace) / max(seconds, 1e-9))
            steps = max(1, min(wanted, 8 * steps, limit))
        compiled = True
