"""The code blocks of docs/losses.md run, one after the other, and its table has every name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lmjax._src.objectives.losses.named import LOSSES

_PAGE = (Path(__file__).parents[1] / "docs" / "losses.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_code_blocks_run() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", _PAGE, re.DOTALL | re.MULTILINE)
    page: dict[str, object] = {"__name__": "losses_page"}
    for code in blocks:
        exec(compile(code, "docs/losses.md", "exec"), page)
    assert len(blocks) == 2


def test_every_loss_is_listed() -> None:
    listed = set(re.findall(r"`(\w+)`", _PAGE))
    assert {type(loss) for loss in LOSSES.values()} == {
        type(loss) for name, loss in LOSSES.items() if name in listed
    }
