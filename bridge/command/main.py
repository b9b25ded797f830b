"""The entry point ``lmjax``: parses the arguments, runs the command, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from bridge.command import compilation_cache, demo, export, fit, info, pack
from bridge.command.failure import CommandError
from bridge.errors import ConversionError

_WRONG_INPUT = 2
_INTERRUPTED = 130  #: 128 + SIGINT, as shells have it

_EPILOG = """\
exit codes: 0 done, 1 the fit could not be trusted (nothing was written), 2 wrong input, 130 interrupted (the best parameters are written)

Compiled programs are kept in the user's cache folder (LMJAX_COMPILATION_CACHE=off: keep nothing).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``lmjax`` with ``arguments`` and returns the exit code.

    Without ``arguments`` it takes those of the process, which is then the command's own: compiled programs are kept for
    the next run.
    """
    options = _parser().parse_args(arguments)
    if arguments is None:
        compilation_cache.switch_on()
    try:
        code: int = options.run(options)
        return code
    except (CommandError, ConversionError) as error:
        print(f"lmjax {options.command}: error: {error}", file=sys.stderr)
        return _WRONG_INPUT
    except KeyboardInterrupt:
        print(f"lmjax {options.command}: interrupted; nothing was written", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has left; the rest goes nowhere, so that Python's own flush does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lmjax",
        description="Levenberg-Marquardt training for Keras models, in JAX.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"lmjax {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (fit, info, pack, export, demo):
        module.add_parser(commands)
    return parser


def _version() -> str:
    try:
        return version("lmjax")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "(not installed)"
