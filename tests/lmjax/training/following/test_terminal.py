"""What a fit looks like in terminals of 80, 60 and 40 columns and in a log, and halfway."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from lmjax import Status
from lmjax._src.training.following.progress import Progress

fcntl = pytest.importorskip("fcntl")
pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")

#: A sequence that a terminal obeys, or a character.
_PIECE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(.)", re.DOTALL)


def screen(written: str, columns: int) -> list[str]:
    """The lines of a terminal after what was ``written`` to it; one that breaks lines where they
    are full, within words, too.
    """
    lines: list[list[str]] = [[]]
    row = column = 0
    for argument, command, character in _PIECE.findall(written):
        if command == "A":
            row = max(row - int(argument or 1), 0)
        elif command == "K":
            lines[row] = [] if argument == "2" else lines[row][:column]
        elif command:
            assert command in "mhl"  # colours, and the cursor
        elif character == "\r":
            column = 0
        else:
            if character == "\n" or column == columns:
                row, column = row + 1, (column if character == "\n" else 0)
                if row == len(lines):
                    lines.append([])
            if character != "\n":
                lines[row].extend(" " * (column + 1 - len(lines[row])))
                lines[row][column] = character
                column += 1
    return ["".join(line).rstrip() for line in lines]


def drain(end: int) -> str:
    """All that comes out of a terminal until nobody writes to it any more."""
    found = b""
    while True:
        try:
            piece = os.read(end, 65536)
        except OSError:
            break
        if not piece:
            break
        found += piece
    return found.decode().replace("\r\r\n", "\r\n")


def resize(end: int, columns: int) -> None:
    size = (24).to_bytes(2, sys.byteorder) + columns.to_bytes(2, sys.byteorder) + bytes(4)
    fcntl.ioctl(end, termios.TIOCSWINSZ, size)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a progress of so many epochs writes to a terminal."""

    def run(columns: int, epochs: int, *, end: bool = True) -> str:
        outer, inner = pty.openpty()
        resize(inner, columns)
        monkeypatch.setenv("COLUMNS", str(columns))  # of a process whose own output is captured
        monkeypatch.setenv("TERM", "xterm")
        terminal = os.fdopen(inner, "w")
        monkeypatch.setattr(sys, "stdout", terminal)
        progress = Progress(100, 1)
        progress.note("100 epochs of 20,000 rows will take 320 s here, batches of 1000 rows 30 s.")
        with progress as line:
            for epoch in range(1, epochs + 1):
                numbers = {"loss": 1.234e-3, "mae": 0.1, "val_loss": 2.3e-3}
                line.update(epoch, numbers | {"val_mean_absolute_error": 0.2})
        if end:
            progress.end(Status.MAX_STEPS, "Returned are those of epoch 100 (loss 0.001234).")
        monkeypatch.undo()
        terminal.close()
        written = drain(outer)
        os.close(outer)
        return written

    return run


_SENTENCES = {
    80: (
        ["100 epochs of 20,000 rows will take 320 s here, batches of 1000 rows 30 s."],
        [
            "Stopped at the step limit before convergence; raise max_steps (epochs) to go on.",
            "Returned are those of epoch 100 (loss 0.001234).",
        ],
        "loss 0.001234  mae 0.1  val_loss 0.0023 …",
    ),
    60: (
        ["100 epochs of 20,000 rows will take 320 s here, batches of", "1000 rows 30 s."],
        [
            "Stopped at the step limit before convergence; raise",
            "max_steps (epochs) to go on. Returned are those of epoch 100",
            "(loss 0.001234).",
        ],
        "loss 0.001234  val_loss 0.0023 …",
    ),
    40: (
        [
            "100 epochs of 20,000 rows will take 320",
            "s here, batches of 1000 rows 30 s.",
        ],
        [
            "Stopped at the step limit before",
            "convergence; raise max_steps (epochs) to",
            "go on. Returned are those of epoch 100",
            "(loss 0.001234).",
        ],
        "loss 0.001234 …",
    ),
}


@pytest.mark.parametrize("columns", [80, 60, 40])
@pytest.mark.parametrize("with_rich", [True, False])
def test_one_live_line_between_sentences(
    columns: int,
    with_rich: bool,
    shown: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No line is broken within a word, and the number of the epoch is always there."""
    if with_rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    before, after, losses = _SENTENCES[columns]
    lines = screen(shown(columns, 100), columns)
    line = lines[len(before)]
    assert lines[: len(before)] == before
    assert lines[len(before) + 1 :] == [*after, ""]
    assert line.startswith("epoch 100/100 ")
    assert losses in line or not with_rich
    assert "loss 0.001234" in line
    if with_rich:
        assert re.search(r" \d:\d\d:\d\d$", line)


@pytest.mark.parametrize("columns", [200, 40])
def test_a_line_halfway(columns: int, shown: Callable[..., str]) -> None:
    """With a bar and all metrics where they have room."""
    pytest.importorskip("rich")
    line = screen(shown(columns, 50, end=False), columns)[-2]
    assert line.startswith("epoch  50/100 ")
    assert ("━" in line) == (columns == 200)
    assert ("val_mean_absolute_error 0.2" in line) == (columns == 200)


_PROGRAM = """
import sys
import numpy as np
import lmjax
x = np.linspace(-1, 1, 40)[:, None]
line = lambda p, x: p["a"] * x + p["b"]
start = {"a": np.zeros(1), "b": np.zeros(1)}
lmjax.fit(line, start, x, x**2, validation_data=(x, x**2), epochs=7)
"""


@pytest.mark.slow
def test_a_fit_in_a_terminal_and_in_a_log(tmp_path: object) -> None:
    """Processes of their own: a terminal of 60 columns, and a file, as under ``nohup``."""
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    outer, inner = pty.openpty()
    resize(inner, 60)
    command = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(command, stdin=inner, stdout=inner, env=environment) as process:
        os.close(inner)
        lines = screen(drain(outer), 60)
    assert process.returncode == 0
    os.close(outer)
    assert all(len(line) <= 60 for line in lines)
    live, *sentences = lines
    assert re.match(r"epoch \d/7 (━+ )?loss 0\.\d+  val_loss 0\.\d+ +\d:\d\d:\d\d$", live)
    log = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    first, *between, end = log.stdout.splitlines()
    assert re.fullmatch(r"epoch 1/7  loss 0\.\d+  val_loss 0\.\d+", first)
    assert len(between) <= 1
    assert " ".join(sentences).split() == end.split()
