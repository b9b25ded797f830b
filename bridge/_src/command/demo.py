"""``lmjax demo``: the whole line from a Keras model to a better-fitted one, on real data."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from bridge._src.command.failure import CommandError
from bridge._src.command.output import check_writable


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="convert, train and export models on real data, with Adam and L-BFGS beside it",
        description=(
            "Fits a NIST curve with certified answers; converts two Keras models, trains them on "
            "data that scikit-learn ships, exports them, and compares with Adam and L-BFGS in "
            "the same seconds. Needs Keras, scikit-learn, matplotlib and Optax, "
            "and uses TensorFlow if it is installed: pip install 'lmjax[demo]'."
        ),
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("demo"),
        help="folder for models and pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the split and of the initial weights (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the demonstration."""
    missing = [
        name
        for module, name in (
            ("keras", "keras"),
            ("sklearn", "scikit-learn"),
            ("matplotlib", "matplotlib"),
            ("optax", "optax"),
        )
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise CommandError(f"needs {' and '.join(missing)}: pip install 'lmjax[demo]'")
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{options.output}: cannot be made ({error.strerror})") from None

    from bridge._src.command.demonstration import run as demo
    from bridge._src.command.demonstration.frameworks import choose_backend
    from bridge._src.command.demonstration.problems import PROBLEMS

    for name in PROBLEMS:
        check_writable(demo.picture_of(options.output, name))
    choose_backend()
    return demo.run(options.output, options.seed)
