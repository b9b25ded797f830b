"""Wrong input to a command."""

from __future__ import annotations

from bridge._src.description.visible import one_line


class CommandError(Exception):
    """Wrong input: the message is printed as one line and the command ends with exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))
