"""``lmjax pack`` and ``lmjax unpack``: a model to a machine without Keras, and its trained weights
back.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bridge._src.command.output import check_apart, check_writable, say
from bridge._src.conversion.packing import pack, unpack


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds both commands to the parser."""
    packing = commands.add_parser(
        "pack",
        help="write a model as a bundle for a machine without Keras",
        description=(
            "Writes the layer graph and the weights of MODEL into a bundle, which lmjax fit trains "
            "where only jax and flax are installed. lmjax unpack brings the trained weights home."
        ),
    )
    packing.add_argument("model", metavar="MODEL", type=Path, help="a .keras or .h5 file")
    packing.add_argument(
        "-o",
        "--output",
        metavar="BUNDLE",
        type=Path,
        required=True,
        help="where the .lmjax file goes",
    )
    packing.set_defaults(run=_run_pack)

    unpacking = commands.add_parser(
        "unpack",
        help="write the weights of a trained bundle back into its model file",
        description=(
            "Writes a copy of MODEL with the weights of BUNDLE, which has to be packed from MODEL. "
            "Compile options and the state of the optimizer stay as they are in MODEL."
        ),
    )
    unpacking.add_argument(
        "bundle", metavar="BUNDLE", type=Path, help="a .lmjax file that lmjax fit has written"
    )
    unpacking.add_argument(
        "model", metavar="MODEL", type=Path, help="the .keras or .h5 file that was packed"
    )
    unpacking.add_argument(
        "-o",
        "--output",
        metavar="FITTED",
        type=Path,
        required=True,
        help="where the trained model goes",
    )
    unpacking.set_defaults(run=_run_unpack)


def _run_pack(options: argparse.Namespace) -> int:
    check_writable(options.output, ".lmjax")
    check_apart(options.output, {"the model": options.model})
    say(f"wrote {pack(options.model, options.output)}")
    return 0


def _run_unpack(options: argparse.Namespace) -> int:
    check_writable(options.output)
    check_apart(options.output, {"the bundle": options.bundle})
    say(f"wrote {unpack(options.bundle, options.model, options.output)}")
    return 0
