"""How many of our own functions a simple call enters, and how deep they stand in one another.

Those who read the path of a call, or a traceback, go through them all. A call that finds its
program is what a user's loop pays for; one that has to compile traces the whole method.
"""

import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest

import lmjax

HOME = str(Path(lmjax.__file__).parent)


def entered(call) -> tuple[set[CodeType], int]:
    """The functions of lmjax that ``call()`` enters, and the most of them at once on the stack."""
    codes: set[CodeType] = set()
    depth = deepest = 0

    def watch(frame: FrameType, event: str, _: Any) -> None:
        nonlocal depth, deepest
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(HOME):
            return
        depth += 1 if event == "call" else -1
        deepest = max(deepest, depth)
        codes.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(before)
    assert depth == 0
    return codes, deepest


#: (functions, depth) at the most. What a cold call may enter is what it does today, to be lowered
#: with the path; the house's aim for it is 110 and 18.
WARM, COLD = (110, 18), (270, 25)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_path_of_the_simplest_call_is_short(dtype):
    def residual_fn(params):
        return params - 1.0

    def call():
        return lmjax.least_squares(residual_fn, np.zeros(3, dtype))

    for functions, depth in (COLD, WARM):
        codes, deepest = entered(call)
        assert len(codes) <= functions, sorted(code.co_qualname for code in codes)
        assert deepest <= depth
