"""An output of a cell in a Jupyter notebook that is drawn over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any

#: Seconds between two drawings at least. A kernel sends each to the browser, and servers drop
#: what comes faster than they allow.
_BETWEEN = 0.1
#: Characters of the bar where there is only text.
_BAR = 24
#: Jupyter's own style breaks lines within words.
_STYLE = "font-family:monospace;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere"


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this, or one that is derived from Jupyter's, as Colab's is."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


class NotebookLine:
    """Sentences, a line with a bar that is drawn over, and sentences again, in one output.

    It is made of text and HTML by ``IPython.display`` alone: a widget would need ipywidgets, and
    would not be there any more when a saved notebook is opened.

    Args:
        total: the number of epochs.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._before: list[str] = []
        self._after: list[str] = []
        self._line: tuple[int, str] | None = None  #: epoch and losses
        self._start = self._drawn = time.monotonic()
        self._seconds = 0.0  #: from the start to what the line says
        self._handle: Any = None

    def start(self) -> None:
        """Shows the line of a fit that is being compiled."""
        self._start = time.monotonic()
        self.update(0, "compiling …")
        self.draw()

    def update(self, epoch: int, losses: str) -> None:
        """Shows the losses after ``epoch`` epochs, unless something was drawn just now."""
        now = time.monotonic()
        self._line, self._seconds = (epoch, losses), now - self._start
        if now >= self._drawn + _BETWEEN:
            self.draw()

    def stop(self) -> None:
        """Shows the last state; where no epoch was done nothing is being compiled any more."""
        if self._line is not None and self._line[0] == 0:
            self._line = 0, ""
        self.draw()

    def say(self, text: str) -> None:
        """Adds a sentence: above the line, or below it when there is one."""
        (self._before if self._line is None else self._after).append(text)
        self.draw()

    def draw(self) -> None:
        """Shows what there is."""
        from IPython.display import display

        shown = {"text/plain": self._text(), "text/html": self._html()}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)
        self._drawn = time.monotonic()

    def _text(self) -> str:
        def line(epoch: int, counted: str, losses: str) -> str:
            full = _BAR * epoch // self._total
            return f"{counted} {'━' * full}{'─' * (_BAR - full)} {losses}"

        return "\n".join(self._lines(line, str))

    def _html(self) -> str:
        def line(epoch: int, counted: str, losses: str) -> str:
            bar = f'<progress value="{epoch}" max="{self._total}"></progress>'
            return f"{escape(counted)} {bar} {escape(losses)}"

        lines = "".join(f"<div>{line}</div>" for line in self._lines(line, escape))
        return f'<div style="{_STYLE}">{lines}</div>'

    def _lines(
        self, line: Callable[[int, str, str], str], sentence: Callable[[str], str]
    ) -> list[str]:
        lines = []
        if self._line is not None:
            epoch, losses = self._line
            minutes, seconds = divmod(int(self._seconds), 60)
            clock = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
            lines = [line(epoch, f"epoch {epoch}/{self._total}", f"{losses}  {clock}".lstrip())]
        return [*map(sentence, self._before), *lines, *map(sentence, self._after)]
