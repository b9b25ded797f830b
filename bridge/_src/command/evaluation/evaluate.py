"""``lmjax evaluate``: loss and metrics of the model in a file on data in another."""

from __future__ import annotations

import argparse
from pathlib import Path

from bridge._src.command.arguments import PRECISIONS
from bridge._src.command.data.column_options import DATA_HELP, add_column_options, columns_of
from bridge._src.command.data.samples import Data
from bridge._src.command.data.sets import read_for
from bridge._src.command.data.text import called
from bridge._src.command.evaluation.chosen_loss import chosen_loss
from bridge._src.command.evaluation.entering import entering
from bridge._src.command.evaluation.metrics import Metrics
from bridge._src.command.failure import CommandError
from bridge._src.command.output import check_said, note, say
from bridge._src.conversion.convert import assembled, read_file
from bridge._src.description.visible import one_line
from bridge._src.formats.compiled import without_metrics
from bridge._src.formats.files import open_model
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.following.mean_loss import mean_loss
from bridge._src.training.outputs.supervision import Supervision
from lmjax._src.objectives.losses.named import LOSSES


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="tell loss and metrics of a model file on a file of data",
        description=(
            "Prints the mean loss of MODEL on DATA, with the penalties of its regularizers, and "
            "the metrics that it was compiled with, as model.evaluate in Keras has them. "
            "TensorFlow is not needed, and Keras for metrics only."
        ),
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a .keras, .h5 or .lmjax file")
    parser.add_argument("data", metavar="DATA", type=Path, help=DATA_HELP)
    parser.add_argument(
        "--weights", metavar="FILE.weights.h5", type=Path, help="weights in place of those in MODEL"
    )
    parser.add_argument(
        "--loss",
        choices=sorted(LOSSES),
        help="default: the loss that the model was compiled with, else mse",
    )
    parser.add_argument(
        "--dtype", choices=PRECISIONS, help="precision of the computation (default: the model's)"
    )
    add_column_options(parser, "column(s) that the model is to predict")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the loss, and the metrics."""
    with open_model(options.model) as file:
        loss = chosen_loss(file, options.loss)
        if options.loss is None and file.description.loss is None:
            note(
                "evaluate", f"{options.model}: it was compiled without a loss, so that this is mse"
            )
        metrics = Metrics.of(file.description.compiled)
        data = read_for(options.data, columns_of(options), file.graph.inputs)
        model = assembled(read_file(file, options.weights), options.dtype)
    for remark in data.remarks:
        note("evaluate", remark)
    try:
        value = mean_loss(model, loss, entering(data, Supervision(model.module, loss)))
    except (TypeError, ValueError) as error:
        raise CommandError(f"{called(options.data)}: {error}") from error
    say(f"loss {value:.9g}")
    if metrics.names:
        say(*(f"{name} {value:.9g}" for name, value in _computed(metrics, model, data).items()))
    check_said()
    return 0


def _computed(metrics: Metrics, model: FlaxModel, data: Data) -> dict[str, float]:
    """The metrics; none where they cannot be computed, which is said."""
    reason = metrics.hindrance(model)
    if reason is None:
        try:
            return metrics.values([(model, data)])[0]
        except Exception as error:  # noqa: BLE001 - Keras' code, beside the loss that is right
            reason = one_line(str(error))
    note("evaluate", f"{without_metrics(metrics.names)} ({reason})")
    return {}
