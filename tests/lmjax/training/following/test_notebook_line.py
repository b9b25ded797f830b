"""The display of a fit in a notebook, without a kernel: how often it is drawn, and when."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from lmjax import Status
from lmjax._src.training.following import notebook
from lmjax._src.training.following.progress import Progress


class _Handle:
    def __init__(self, drawn: list[dict[str, str]]) -> None:
        self._drawn = drawn

    def update(self, shown: dict[str, str], *, raw: bool) -> None:
        assert raw
        self._drawn.append(shown)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What is drawn in a shell that is derived from Jupyter's, as Colab's is."""
    found: list[dict[str, str]] = []

    def display(shown: dict[str, str], *, raw: bool, display_id: bool) -> _Handle:
        assert raw
        assert display_id
        assert not found  # the first one only
        found.append(shown)
        return _Handle(found)

    shell = type("Shell", (type("ZMQInteractiveShell", (), {}),), {})()
    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    vars(ipython)["get_ipython"] = lambda: shell
    vars(module)["display"] = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return found


def test_fast_epochs_are_not_all_drawn(
    drawn: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Notes stand above the line, and the last epoch is always there."""
    clock = iter(0.001 * tick for tick in range(10_000))
    monkeypatch.setattr(notebook.time, "monotonic", lambda: next(clock))
    progress = Progress(1000, "auto")
    progress.note("It will take <long>.")
    with progress:
        assert drawn[-1]["text/plain"].endswith("compiling …  0:00:00")
        for epoch in range(1, 996):
            progress.update(epoch, {"loss": 1 / epoch})
    assert len(drawn) < 25
    progress.end(Status.GRADIENT, "Returned are those of epoch 995.")
    note, line, end = drawn[-1]["text/plain"].splitlines()
    assert note == "It will take <long>."
    assert line == f"epoch 995/1000 {'━' * 23}─ loss 0.001005  0:00:01"
    assert end == f"{Status.GRADIENT.message} Returned are those of epoch 995."
    assert "<div>It will take &lt;long&gt;.</div>" in drawn[-1]["text/html"]
    assert capsys.readouterr().out == ""


def test_nothing_is_compiled_any_more_after_an_error(drawn: list[dict[str, str]]) -> None:
    with pytest.raises(RuntimeError), Progress(7, 1):
        raise RuntimeError
    assert drawn[-1]["text/plain"] == f"epoch 0/7 {'─' * 24} 0:00:00"


@pytest.mark.parametrize("verbose", [0, 2])
def test_no_display_where_none_is_wanted(verbose: int, drawn: list[dict[str, str]]) -> None:
    with Progress(1, verbose) as progress:
        progress.update(1, {"loss": 1.0})
    assert drawn == []
