"""Text from strangers as a terminal may show it."""

from __future__ import annotations

#: Longer lines than this say nothing more.
_LONGEST = 2_000


def visible(text: str) -> str:
    """``text`` with everything that a terminal would obey, and not show, written as Python writes
    it in strings; lines stay lines.
    """
    lines = [
        line if line.isprintable() else "".join(map(_shown, line)) for line in text.split("\n")
    ]
    return "\n".join(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…" for line in lines)


def one_line(text: str) -> str:
    """``text`` as one line, without what a terminal would obey."""
    return visible(" ".join(text.split()))


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
