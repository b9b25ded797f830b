"""What ``lmjax fit`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from bridge._src.command.arguments import (
    PRECISIONS,
    STANDARDIZE,
    add_held_out,
    natural_number,
    whole_number,
)
from bridge._src.command.data.column_options import DATA_HELP, add_column_options
from bridge._src.command.solver_options import add_solver_options
from lmjax._src.objectives.losses.named import LOSSES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        type=Path,
        help="a .keras, .h5 or .lmjax file; it is not changed unless FITTED is the same file",
    )
    add("data", metavar="DATA", type=Path, help=DATA_HELP)
    add(
        "-o",
        "--output",
        metavar="FITTED",
        type=Path,
        required=True,
        help="the trained model: the same kind of file, or .weights.h5",
    )
    add(
        "--weights",
        metavar="FILE.weights.h5",
        type=Path,
        help="weights to begin with, in place of those in MODEL",
    )
    add(
        "--standardize",
        nargs="?",
        const=STANDARDIZE[0],
        choices=STANDARDIZE,
        help="train on inputs, targets or both of zero mean and unit variance (default: inputs); "
        "FITTED takes and gives raw numbers: it has a Normalization layer in front, or, for "
        "targets and where there can be none, the scales in the weights of its layers",
    )
    add_held_out(
        *(parser, "validation"),
        share="share of the samples to hold out; written are the weights of the epoch with the "
        "least loss on them",
        file="samples of the same columns to validate on",
    )
    add_held_out(
        *(parser, "test"),
        share="share of the samples that are neither trained on nor chosen by, whose loss and "
        "metrics are told in the end",
        file="samples of the same columns to test on",
    )
    _add_ends(parser)
    add(
        "--loss",
        choices=sorted(LOSSES),
        help="default: the loss that the model was compiled with, else mse",
    )
    add(
        "--epochs",
        metavar="N",
        type=whole_number,
        default=100,
        help="most steps on all samples, or with --batch-size passes over them (default: "
        "%(default)s)",
    )
    add(
        "--dtype",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="precision of the training (default: %(default)s)",
    )
    add(
        "--seed",
        type=natural_number,
        default=0,
        help="chooses the held-out samples, the order of --batch-size and the draws of --restarts "
        "(default: %(default)s)",
    )
    add(
        "--history",
        metavar="FILE.csv",
        type=Path,
        help="also write losses, seconds and what steps were like of every epoch, and the metrics "
        "of compile before the training (epoch 0) and of the epoch that is kept",
    )
    add(
        "--report",
        metavar="FILE.html",
        type=Path,
        help="also write a page with curves, errors, metrics, model, data and versions "
        "(lmjax[plot])",
    )
    add_column_options(parser, "column(s) to predict, of which a table has to have one")
    add_solver_options(parser)
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument(
        "-q", "--quiet", action="store_const", const=0, dest="verbose", help="print errors only"
    )
    volume.add_argument(
        "-v",
        "--verbose",
        action="store_const",
        const=2,
        dest="verbose",
        help="print lines instead of a progress bar",
    )


def _add_ends(parser: argparse.ArgumentParser) -> None:
    """What ends a training before its last epoch."""
    parser.add_argument(
        "--patience",
        metavar="N",
        type=whole_number,
        help="end when the loss on the samples to validate on has not been below its least for N "
        "epochs",
    )
    parser.add_argument(
        "--goal", metavar="LOSS", type=float, help="end when the loss is at most this"
    )
    parser.add_argument(
        "--max-seconds", metavar="T", type=float, help="end after the epoch that is running then"
    )
    parser.add_argument(
        "--warm-up",
        metavar="N",
        type=natural_number,
        default=0,
        help="steps of Adam before the first epoch (lmjax[optax]; default: 0)",
    )
    parser.add_argument(
        "--warm-up-every",
        metavar="N",
        type=whole_number,
        help="as many steps of Adam again after every N epochs",
    )
    parser.add_argument(
        "--restarts",
        metavar="N",
        type=whole_number,
        default=1,
        help="fit from N starts, the model's weights and new draws, and keep the best (default: 1)",
    )
    parser.add_argument(
        "--bayesian",
        action="store_true",
        help="let the data decide on a penalty of the squared weights, and on the noise",
    )
    parser.add_argument(
        "--min-grad",
        metavar="NORM",
        type=float,
        help="end when the norm of the loss' gradient is at most this",
    )
