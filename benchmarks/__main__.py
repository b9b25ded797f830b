"""``python -m benchmarks [--quick | --full] [--only WORKLOAD] [--json FILE]``."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import plots, readme, report
from benchmarks.catalog import SESSIONS
from benchmarks.session import run
from benchmarks.worker import Mode


def main() -> None:
    """Runs the chosen workloads and prints a table each."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Peers side by side on the same work, in one run."
    )
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument(
        "--quick",
        action="store_const",
        const="quick",
        dest="mode",
        help="5 short rounds (the default)",
    )
    extent.add_argument(
        "--full", action="store_const", const="full", dest="mode", help="15 longer rounds"
    )
    parser.add_argument(
        "--only",
        metavar="WORKLOAD",
        choices=[session.name for session in SESSIONS],
        help="one workload only",
    )
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        type=Path,
        help="also write all numbers and plots there, a file a workload (kept: benchmarks/results)",
    )
    parser.add_argument(
        "--readme",
        action="store_true",
        help="only write the table of the kept results into README.md",
    )
    parser.set_defaults(mode="quick")
    arguments = parser.parse_args()
    if arguments.readme:
        readme.update()
        return
    # No clock shall find what an earlier run compiled.
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    mode: Mode = arguments.mode
    console = Console(width=150 if not sys.stdout.isatty() else None)
    for session in SESSIONS:
        if arguments.only in (None, session.name):
            outcome = run(
                session,
                mode,
                5 if mode == "quick" else 15,
                functools.partial(print, file=sys.stderr, flush=True),
            )
            report.show(session, outcome.metrics, outcome.missing, console)
            if arguments.results:
                report.write(
                    arguments.results / mode / f"{session.name}.json", mode, session, outcome
                )
    if arguments.results:
        plots.draw(arguments.results / mode)


if __name__ == "__main__":
    main()
