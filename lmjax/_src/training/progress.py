"""A progress line for the terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import IO, Any, Self, TextIO, cast


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


class ProgressLine:
    """One line that follows a fit: a bar, the epoch and the losses; silent where nobody would see
    it.

    Args:
        total: the number of epochs.
        verbose: 0 for silence; 1 or "auto" for a line in a terminal, and silence where standard
            output is none (a file, a pipe); 2 for a printed line now and then wherever the output
            goes.
    """

    def __init__(self, total: int, verbose: int | str) -> None:
        if verbose not in (0, 1, 2, "auto", True, False):
            raise ValueError(f"verbose: expected 0, 1, 2 or 'auto', got {verbose!r}")
        self._total = total
        self._output = Forgiving(sys.stdout)
        self._plain = verbose == 2
        self._bar: Any = None
        self._task: Any = None
        self._written = 0  #: characters in the line that is written over where there is no bar
        self._shown = bool(verbose) and not self._plain and self._output.isatty()
        if self._shown:
            self._bar = _make_bar(self._output)

    def __enter__(self) -> Self:
        """Shows the line."""
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, losses="compiling …")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves the last state of the line in the terminal."""
        if self._bar is not None:
            self._bar.stop()
        elif self._written:
            print(file=self._output, flush=True)

    def update(self, epoch: int, metrics: dict[str, float]) -> None:
        """Shows the metrics after ``epoch`` epochs."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=epoch, losses=text)
        elif self._plain:
            print(f"epoch {epoch}/{self._total}  {text}", file=self._output, flush=True)
        elif self._shown:
            line = f"LM epoch {epoch}/{self._total}  {text}"
            print(f"\r{line:<{self._written}}", end="", file=self._output, flush=True)
            self._written = len(line)


def _make_bar(output: Forgiving) -> Any:
    """The bar; None where Rich, which draws it, is not installed."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )
    except ModuleNotFoundError:
        return None
    columns = (
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[losses]}"),
        TimeElapsedColumn(),
    )
    return Progress(TextColumn("LM epoch"), *columns, console=Console(file=cast(TextIO, output)))
