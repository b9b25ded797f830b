"""What a fit shows of itself while it runs, and at its end."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
import time
from types import TracebackType
from typing import IO, Any, Self, TextIO, cast

from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.training.following.notebook import NotebookLine, in_notebook

#: Seconds between plain lines in a log.
_BETWEEN_LINES = 10.0
#: Columns of the bar, and of the seconds behind the losses.
_BAR, _SECONDS = 24, 8
#: What is shown first where not everything has room.
_FIRST = ("loss", "val_loss")


class Forgiving:
    """A text stream that goes silent for good when what is written to it cannot be taken: the
    reader has left, the disk is full.

    Args:
        stream: where the text goes; None, as Python has it for a closed standard output, for
            nowhere.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self.error: Exception | None = None  #: why it went silent

    def write(self, text: str) -> int:
        """Writes ``text`` if anybody takes it; characters that the stream's encoding lacks become
        question marks.
        """
        try:
            self._try("write", text)
        except UnicodeEncodeError:
            encoding = getattr(self._stream, "encoding", None) or "ascii"
            self._try("write", text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Passes on what was written if anybody takes it."""
        self._try("flush")

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and bool(self._stream.isatty())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, method: str, *arguments: str) -> None:
        if self._stream is None or self.error is not None:
            return
        try:
            getattr(self._stream, method)(*arguments)
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError) as error:  # a closed Python file raises ValueError
            self.error = error


class Progress:
    """Follows a fit: a bar, the epoch and the losses, and at the end why it stopped.

    In a terminal that is one live line, in a notebook one output with a live line and the
    sentences; elsewhere (a file, a pipe) plain lines now and then.

    Args:
        total: the number of epochs.
        verbose: 0 for silence, 1 or "auto" for that, 2 for a plain line for every epoch.
        first: the number of the first epoch, from 0.
    """

    def __init__(self, total: int, verbose: int | str, first: int = 0) -> None:
        if verbose not in (0, 1, 2, "auto", True, False):
            raise ValueError(f"verbose: expected 0, 1, 2 or 'auto', got {verbose!r}")
        self._total, self._first = total, first
        self._output = Forgiving(sys.stdout)
        self._silent, self._each = not verbose, verbose == 2
        self._bar: Any = None
        self._task: Any = None
        self._written = 0  #: characters in the line that is written over where there is no bar
        self._last: tuple[int, str] = (0, "")  #: epoch and losses that were passed last
        self._said = (0, -math.inf)  #: epoch of the last plain line, and when it was written
        live = not (self._silent or self._each)
        self._in_terminal = live and self._output.isatty()
        self._cell: NotebookLine | None = None
        if self._in_terminal:
            self._bar = _make_bar(self._output)
        elif live and in_notebook():
            self._cell = NotebookLine(total)

    def __enter__(self) -> Self:
        """Shows the line."""
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, losses="compiling …")
        elif self._cell is not None:
            self._cell.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves the last state of the line."""
        if self._bar is not None:
            self._bar.stop()
        elif self._cell is not None:
            self._cell.stop()
        elif self._written:
            print(file=self._output, flush=True)
        elif not self._silent and self._said[0] != self._last[0]:
            self._say(*self._last)

    def update(self, epoch: int, metrics: dict[str, float]) -> None:
        """Shows the metrics after ``epoch`` epochs of this fit."""
        text = _text(metrics)
        epoch += self._first
        self._last = epoch, text
        if self._silent:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=epoch, losses=self._in_bar(metrics))
        elif self._cell is not None:
            self._cell.update(epoch, text)
        elif self._in_terminal:
            counted = f"epoch {epoch}/{self._total}  "
            room = shutil.get_terminal_size().columns - 1 - len(counted)
            self._write_over(counted + _fitting(metrics, room))
        elif self._each or time.monotonic() >= self._said[1] + _BETWEEN_LINES:
            self._say(epoch, text)

    def end(self, status: Status, kept: str) -> None:
        """Says why the fit stopped, and what it returns; after the block."""
        if not self._silent:
            self._print(f"{status.message} {kept}")

    def note(self, text: str | None) -> None:
        """Says something before the fit begins; before the block."""
        if text is not None and not self._silent:
            self._print(text)

    def _print(self, text: str) -> None:
        """Prints sentences; a terminal would break their lines within words."""
        if self._cell is not None:
            self._cell.say(text)
            return
        if self._in_terminal:
            width = shutil.get_terminal_size().columns
            text = textwrap.fill(text, width, break_on_hyphens=False)
        print(text, file=self._output, flush=True)

    def _in_bar(self, metrics: dict[str, float]) -> str:
        """The metrics that have room; they push out the bar, and never the number of the epoch."""
        counted = len(f"epoch {self._total}/{self._total} ")
        room = self._bar.console.width - counted - _SECONDS - 1
        if len(_text(metrics)) > room - _BAR - 1:
            self._bar.columns = [column for column in self._bar.columns if not _is_bar(column)]
        return _fitting(metrics, room)

    def _write_over(self, line: str) -> None:
        print(f"\r{line:<{self._written}}", end="", file=self._output, flush=True)
        self._written = len(line)

    def _say(self, epoch: int, text: str) -> None:
        print(f"epoch {epoch}/{self._total}  {text}", file=self._output, flush=True)
        self._said = epoch, time.monotonic()


def _text(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _fitting(metrics: dict[str, float], room: int) -> str:
    """As many of the metrics as have room, in their order; where that is not all, losses first, and
    dots behind.
    """
    whole = _text(metrics)
    if len(whole) <= room:
        return whole
    chosen: dict[str, float] = {}
    for name in sorted(metrics, key=lambda name: name not in _FIRST):
        more = {one: metrics[one] for one in metrics if one in chosen or one == name}
        if len(_text(more)) + 2 <= room:
            chosen = more
    shown = f"{_text(chosen)} …" if chosen else whole
    return shown if len(shown) <= room else f"{shown[: max(room - 1, 0)]}…"


def _is_bar(column: Any) -> bool:
    return type(column).__name__ == "BarColumn"


def _make_bar(output: Forgiving) -> Any:
    """The bar in a terminal; None where Rich, which draws it, is not installed."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.progress import Progress as Bar
    except ModuleNotFoundError:
        return None
    columns = (
        MofNCompleteColumn(),
        BarColumn(bar_width=_BAR),
        TextColumn("{task.fields[losses]}"),
        TimeElapsedColumn(),
    )
    return Bar(TextColumn("epoch"), *columns, console=Console(file=cast(TextIO, output)))
