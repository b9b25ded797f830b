"""A progress line for the terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class ProgressLine:
    """One line that follows a fit: a bar, the epoch and the losses; silent where nobody would see it.

    Args:
        total: the number of epochs.
        verbose: 0 for silence; 1 or "auto" for a line in a terminal, and silence where standard output is none (a
            file, a pipe); 2 for a printed line now and then wherever the output goes.
    """

    def __init__(self, total: int, verbose: int | str) -> None:
        if verbose not in (0, 1, 2, "auto", True, False):
            raise ValueError(f"verbose: expected 0, 1, 2 or 'auto', got {verbose!r}")
        self._total = total
        self._plain = verbose == 2
        self._bar: Any = None
        self._task: Any = None
        if verbose and not self._plain and sys.stdout.isatty():
            self._bar = _make_bar()

    def __enter__(self) -> Self:
        """Shows the line."""
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, losses="compiling …")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leaves the last state of the line in the terminal."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, epoch: int, metrics: dict[str, float]) -> None:
        """Shows the metrics after ``epoch`` epochs."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=epoch, losses=text)
        elif self._plain:
            print(f"epoch {epoch}/{self._total}  {text}", flush=True)


def _make_bar() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("LM epoch"), MofNCompleteColumn(), BarColumn(bar_width=24), TextColumn("{task.fields[losses]}"), TimeElapsedColumn()
    )
