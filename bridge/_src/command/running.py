"""Parses the arguments, runs the command, turns errors into one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from bridge._src.command import completion
from bridge._src.command.failure import CommandError
from bridge._src.command.output import unhindered
from bridge._src.description.errors import ConversionError
from bridge._src.description.visible import one_line
from lmjax._src.runtime.interrupts import Termination
from lmjax._src.runtime.optional import NotInstalledError

if TYPE_CHECKING:
    import argparse

_COMMANDS = (
    *("fit", "evaluation.predict", "evaluation.evaluate", "evaluation.compare"),
    *("info", "pack", "export", "check", "demo"),
)
_WRONG_INPUT = 2
_SIGNALLED = 128  #: and the signal's number, as shells have it
#: Set to anything, it has an unexpected error shown where it happened.
_TRACEBACK = "LMJAX_TRACEBACK"

_EPILOG = """\
exit codes: 0 done, 1 the fit could not be trusted (nothing was written), 2 wrong input or an output
that cannot be written (the message says what was), 130 interrupted (143 by SIGTERM, 129 by SIGHUP;
the best parameters are written)

Compiled programs are kept in the user's cache folder (LMJAX_COMPILATION_CACHE=off: keep nothing).
"""


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Runs ``lmjax`` with ``arguments`` (None: those of the process) and returns the exit code."""
    with unhindered():
        return _run(parser, arguments)


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    from bridge._src.command.arguments import with_values

    command = "lmjax"
    try:
        options, unknown = parser.parse_known_args(
            with_values(sys.argv[1:] if arguments is None else arguments)
        )
        if unknown:
            hint = "; several columns go by commas, as in --target a,b"
            shown = hint if getattr(options, "target", None) else ""
            parser.error(f"unrecognized arguments: {' '.join(unknown)}{shown}")
        command = f"lmjax {options.command}"
        options.arguments = list(sys.argv[1:] if arguments is None else arguments)
        # A check does without: what is kept may come from another processor's compiler.
        if arguments is None and options.command != "check":
            import_module("bridge._src.command.compilation_cache").switch_on()
        code: int = options.run(options)
        return code
    except (CommandError, ConversionError, NotInstalledError) as error:
        print(f"{command}: error: {error}", file=sys.stderr)
        return _WRONG_INPUT
    except KeyboardInterrupt as error:
        print(f"{command}: interrupted; nothing was written", file=sys.stderr)
        return _SIGNALLED + getattr(error, "number", signal.SIGINT)
    except Termination as error:
        print(
            f"{command}: interrupted by {signal.Signals(error.number).name}; nothing was written",
            file=sys.stderr,
        )
        return _SIGNALLED + error.number
    except Exception as error:
        if os.environ.get(_TRACEBACK):
            raise
        print(f"{command}: error: {_unexpected(error)}", file=sys.stderr)
        return _WRONG_INPUT


def _unexpected(error: Exception) -> str:
    """What can be said of an error that no command foresees: the machine's, or a fault of ours."""
    reason = one_line(": ".join(filter(None, [type(error).__name__, str(error)])))
    if isinstance(error, MemoryError):
        reason = f"the memory is not enough ({reason})"
    elif isinstance(error, OSError):
        reason = one_line(str(error))
    elif "backend" in reason and os.environ.get("JAX_PLATFORMS"):
        reason = (
            f"JAX cannot use what JAX_PLATFORMS={os.environ['JAX_PLATFORMS']} asks for "
            f"({reason}); unset it"
        )
    else:
        reason += f"; {_TRACEBACK}=1 shows where"
    return "; ".join([reason, *map(one_line, getattr(error, "__notes__", ()))])


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command, each of which is imported for it."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="lmjax",
        description="Levenberg-Marquardt training for Keras models, in JAX.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"lmjax {_version()}")
    completion.add_option(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in _COMMANDS:
        import_module(f"bridge._src.command.{name}").add_parser(commands)
    return parser


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lmjax")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "(not installed)"
