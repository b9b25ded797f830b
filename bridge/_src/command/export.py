"""``lmjax export``: a model file as a TensorFlow SavedModel."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from bridge._src.command.output import native_messages_hidden, say
from bridge._src.conversion.saved_model import export


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "export",
        help="write a model as a TensorFlow SavedModel",
        description="Writes MODEL as a SavedModel, for TensorFlow Serving and the like. Needs "
        "TensorFlow.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a .keras or .h5 file")
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, required=True, help="the folder to be made"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Nothing is computed, so the card's memory is left to others.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with native_messages_hidden():
        written = export(options.model, options.output)
    say(f"wrote {written}")
    return 0
