"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

PRECISIONS = ("float64", "float32")
#: What --standardize is about, the default first.
STANDARDIZE = ("inputs", "targets", "both")


def with_values(arguments: Sequence[str]) -> list[str]:
    """``arguments`` with the default beside an option that stands for it alone, so that argparse
    does not take the next argument, which is a file, for its value.
    """
    following = [*arguments[1:], ""]
    return [
        f"{given}={STANDARDIZE[0]}"
        if given == "--standardize" and after not in STANDARDIZE
        else given
        for given, after in zip(arguments, following, strict=True)
    ]


def add_held_out(parser: argparse.ArgumentParser, name: str, share: str, file: str) -> None:
    """The two ways to hold samples out, by the ``name`` of their set: a ``share`` of them, or a
    ``file``, as the helps of the options say.
    """
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        f"--{name}-split",
        metavar="FRACTION",
        type=fraction,
        default=0.0,
        help=f"{share} (default: 0)",
    )
    ways.add_argument(f"--{name}-data", metavar="FILE", type=Path, help=file)


def fraction(text: str) -> float:
    """A number in [0, 1)."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(
            f"expected a number from 0 up to, not including, 1, given {text}"
        )
    return number


def whole_number(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, given {text}")
    return number


def natural_number(text: str) -> int:
    """A whole number of at least 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, given {text}")
    return number
