"""``lmjax compare``: which method to train the model in a file with, on data in another."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from bridge._src.command.arguments import PRECISIONS, add_held_out, natural_number, whole_number
from bridge._src.command.data.column_options import DATA_HELP, add_column_options
from bridge._src.command.data.sets import check_one_reader, read_sets
from bridge._src.command.data.text import called
from bridge._src.command.evaluation.chosen_loss import chosen_loss
from bridge._src.command.evaluation.entering import entering
from bridge._src.command.failure import CommandError
from bridge._src.command.output import check_apart, check_said, check_writable, note, say
from bridge._src.comparison.runs import RATES, compare_runs
from bridge._src.conversion.convert import assembled, read_file
from bridge._src.formats.files import open_model
from bridge._src.formats.output.atomic import replacing
from bridge._src.training.outputs.supervision import Supervision
from lmjax._src.objectives.losses.named import LOSSES
from lmjax._src.runtime.optional import needed
from lmjax._src.training.data import VALIDATION


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "compare",
        help="tell which method to train a model file on a file of data with",
        description=(
            "Trains MODEL on DATA by Levenberg-Marquardt, by Adam with several learning rates and "
            "by L-BFGS, each from the same starts in the same seconds, and prints a table and "
            "which to use. Samples that are held out decide, where there are any. MODEL is not "
            "changed. Neither TensorFlow nor Keras is needed; pip install 'lmjax[optax]'."
        ),
    )
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="a .keras, .h5 or .lmjax file")
    add("data", metavar="DATA", type=Path, help=DATA_HELP)
    add("--weights", metavar="FILE.weights.h5", type=Path, help="weights in place of MODEL's")
    add_held_out(
        *(parser, "validation"),
        share="share of the samples to hold out",
        file="samples of the same columns instead",
    )
    add(
        "--seconds",
        metavar="T",
        type=_positive,
        default=5.0,
        help="for each run (default: %(default)g)",
    )
    add(
        "--seeds",
        metavar="N",
        type=whole_number,
        default=3,
        help="starts: MODEL's weights, and new ones from its initializers (default: %(default)s)",
    )
    add(
        "--rates",
        metavar="RATE,...",
        type=_rates,
        default=RATES,
        help="learning rates for Adam (default: " + ",".join(f"{rate:g}" for rate in RATES) + ")",
    )
    add(
        "--batch-size",
        metavar="N",
        type=whole_number,
        default=32,
        help="samples in a batch of Adam's (default: %(default)s)",
    )
    add(
        "--loss",
        choices=sorted(LOSSES),
        help="default: the loss that the model was compiled with, else mse",
    )
    add(
        "--dtype",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="precision of all methods (default: %(default)s)",
    )
    add(
        "--seed",
        type=natural_number,
        default=0,
        help="chooses the held-out samples (default: %(default)s)",
    )
    add("--plot", metavar="FILE.png", type=Path, help="also draw the losses against seconds")
    add_column_options(parser, "column(s) to predict, of which a table has to have one")
    add("-q", "--quiet", action="store_true", help="print the table only, no line for each run")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the comparison."""
    check_one_reader(options.data, options.validation_data)
    data_files = {"the data": options.data, "the data to validate on": options.validation_data}
    if options.plot is not None:
        needed("matplotlib", "plot", "--plot")
        check_writable(options.plot, ".png")
        check_apart(options.plot, data_files | {"the model": options.model})
    with open_model(options.model) as file:
        loss = chosen_loss(file, options.loss)
        samples, validation, _ = read_sets(options, file.graph.inputs, "compare")
        model = assembled(read_file(file, options.weights), options.dtype)
    if not model.table.trainable:
        raise CommandError(f"{options.model}: no weight is trainable, so there is nothing to fit")
    if samples.streamed:
        raise CommandError(
            f"{options.data}: a comparison needs its data in memory, as a .npz file or a table; "
            "give it a part of them"
        )
    supervision = Supervision(model.module, loss)
    try:
        found = compare_runs(
            model,
            entering(samples, supervision),
            None if validation is None else entering(validation, supervision, VALIDATION),
            loss=loss,
            seconds=options.seconds,
            seeds=options.seeds,
            rates=options.rates,
            batch_size=options.batch_size,
            say=None if options.quiet else partial(note, "compare"),
        )
    except (TypeError, ValueError) as error:
        raise CommandError(f"{called(options.data)}: {error}") from error
    say(*repr(found).splitlines())
    if options.plot is not None:
        with replacing(options.plot) as picture:
            found.plot(picture)
        note("compare", f"wrote {options.plot}")
    check_said()
    return 0


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, given {text}")
    return number


def _rates(text: str) -> tuple[float, ...]:
    """Numbers above 0, separated by commas."""
    return tuple(_positive(part) for part in text.split(","))
