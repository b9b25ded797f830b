"""Wrong input to a command."""

from __future__ import annotations


class CommandError(Exception):
    """Wrong input: the message is printed as one line and the command ends with exit code 2."""
