"""``lmjax predict``: what the model in a file says of samples in another."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bridge._src.command.arguments import PRECISIONS, whole_number
from bridge._src.command.data.column_options import DATA_HELP, add_column_options, columns_of
from bridge._src.command.data.sets import read_for
from bridge._src.command.data.text import STANDARD_INPUT, called
from bridge._src.command.evaluation.predictions import check_kind, predict, table, write
from bridge._src.command.failure import CommandError
from bridge._src.command.output import check_apart, check_said, check_writable, note
from bridge._src.conversion.convert import assembled, read_file
from bridge._src.description.graph import references
from bridge._src.formats.files import open_model
from bridge._src.formats.output.atomic import replacing

#: As for an output, - stands for what the shell has.
_STANDARD_OUTPUT = STANDARD_INPUT


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "predict",
        help="write what a model file says of a file of data",
        description=(
            "Writes the outputs of MODEL for the samples in DATA, of which nothing but the inputs "
            "is needed. Neither TensorFlow nor Keras is needed."
        ),
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a .keras, .h5 or .lmjax file")
    parser.add_argument("data", metavar="DATA", type=Path, help=DATA_HELP)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        default=_STANDARD_OUTPUT,
        help="a .csv, .tsv, .npy or .npz file (default: a table to standard output)",
    )
    parser.add_argument(
        "--weights", metavar="FILE.weights.h5", type=Path, help="weights in place of those in MODEL"
    )
    parser.add_argument(
        "--batch-size",
        metavar="N",
        type=whole_number,
        default=4096,
        help="samples that are computed at once (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype", choices=PRECISIONS, help="precision of the computation (default: the model's)"
    )
    add_column_options(
        parser,
        "column(s) that the model predicts: they are no inputs where DATA has them, and name the "
        "columns of the output",
        with_weights=False,
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Writes the predictions."""
    with open_model(options.model) as file:
        _check_output(options, len(list(references(file.graph.outputs))))
        columns = columns_of(options, has_targets=False)
        data = read_for(options.data, columns, file.graph.inputs)
        model = assembled(read_file(file, options.weights), options.dtype)
    for remark in data.remarks:
        note("predict", remark)
    try:
        predictions = predict(model, data, options.batch_size)
        if options.output == _STANDARD_OUTPUT:
            for text in table(predictions, options.target):
                sys.stdout.write(text)
            check_said()
        else:
            with replacing(options.output) as written:
                write(predictions, written, options.output, options.target)
            note("predict", f"wrote {options.output}")
    except (TypeError, ValueError) as error:
        raise CommandError(f"{called(options.data)}: {error}") from error
    return 0


def _check_output(options: argparse.Namespace, num_outputs: int) -> None:
    if options.output == _STANDARD_OUTPUT:
        return
    check_kind(options.output, num_outputs)
    check_writable(options.output)
    read = {"the data": options.data, "the model": options.model, "the weights": options.weights}
    check_apart(options.output, read)
