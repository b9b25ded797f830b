"""``lmjax --print-completion``: a script by which a shell completes commands, options and files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmjax._src.runtime.optional import needed

#: Those that every version of shtab serves from the first that the extra allows.
_SHELLS = ("bash", "zsh", "tcsh")


def add_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option to the parser of all commands."""
    parser.add_argument(
        "--print-completion",
        choices=_SHELLS,
        action=_Print,
        help="print a script for the shell's completion, and end; needs pip install "
        "'lmjax[completion]'",
    )


class _Print(argparse.Action):
    """Prints the script and ends the program."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        shtab = needed("shtab", "completion", option_string or "completion")
        for action in _actions(parser):
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        sys.stdout.write(shtab.complete(parser, shell=values) + "\n")
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of the parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
