"""The code blocks of docs/custom-layers.md run, one after the other."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import bridge

_PAGE = (Path(__file__).parents[1] / "docs" / "custom-layers.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_code_blocks_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", _PAGE, re.DOTALL | re.MULTILINE)
    page = ModuleType("custom_layers_page")
    # Where the classes look for their annotations.
    monkeypatch.setitem(sys.modules, page.__name__, page)
    try:
        for code in blocks:
            exec(compile(code, "docs/custom-layers.md", "exec"), vars(page))
    finally:
        for key in ("laboratory>Saturation", "Lambda"):
            bridge.unregister_converter(key)
    assert len(blocks) == 4
    assert "saturation (Saturation)" in capsys.readouterr().out
