"""``lmjax info``: what is in a model file, what of it is trained, and what a Levenberg-Marquardt
step will cost.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax

from bridge._src.command.arguments import PRECISIONS, whole_number
from bridge._src.command.output import check_said, say
from bridge._src.conversion.convert import assembled, read_file
from bridge._src.description.graph import LayerGraph, TensorRef, references
from bridge._src.description.visible import one_line
from bridge._src.formats.files import open_model
from bridge._src.module.build import refusals
from bridge._src.module.flax_model import FlaxModel
from lmjax._src.arrays.structure import Structure
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.objectives.losses.named import find_loss
from lmjax._src.objectives.rows import Rows
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime.precision import scope
from lmjax._src.training.costs import PROBE, product_rate, step_cost
from lmjax._src.typing import PyTree

_OPEN_SIZE = 128  #: taken for an input size that the model leaves open


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="show a model's layers and weights, what cannot be converted, and what a step costs",
        description=(
            "Shows the layers and weights of MODEL, which of them are trained, which layers cannot "
            "be converted and why, and the memory and time to expect of one Levenberg-Marquardt "
            "step. Exit code 1 when layers cannot be converted."
        ),
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a .keras, .h5 or .lmjax file")
    parser.add_argument(
        "--samples",
        metavar="N",
        type=whole_number,
        default=10_000,
        help="how many to reckon with (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="precision of the training (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the report; returns 1 when the model cannot be converted."""
    code = _print_report(options)
    check_said()
    return code


def _print_report(options: argparse.Namespace) -> int:
    with open_model(options.model) as file:
        graph = file.graph
        refused = refusals(graph)
        model = None if refused else assembled(read_file(file), options.dtype)
    if model is None:
        say(f"{graph.name}: {len(list(graph.records()))} layers")
        for path, record in graph.records():
            say(
                "  "
                + one_line(
                    f"{'/'.join(path)} "
                    f"({record.class_name}){'' if record.trainable else ', frozen'}"
                )
            )
        say("cannot be converted exactly:", *(f"  {refusal}" for refusal in refused))
        return 1
    say(model, "", describe_step(model, options.samples))
    return 0


def describe_step(model: FlaxModel, samples: int) -> str:
    """Memory and arithmetic of one step on ``samples`` samples, and a time from the machine's own
    rate, in words.
    """
    structure = Structure.of(model.params)
    if structure.size == 0:
        return "no weight is trainable: there is nothing to fit"
    with scope(model.dtype):
        inputs, outputs = _inputs(model, samples), list(references(model.graph.outputs))
        function = (
            model.pure() if isinstance(model.graph.outputs, TensorRef) else model.with_activity()
        )
        rows = Rows(inputs, jax.eval_shape(function, model.params, inputs), None)
        objective = SupervisedObjective(
            rows, function, None, find_loss("mse"), structure, layerwise=True
        )
        cost = step_cost(
            LevenbergMarquardt(), objective, jax.ShapeDtypeStruct((structure.size,), model.dtype)
        )
        rate = product_rate(model.dtype)
    product = "JJᵀ" if cost.matrix_size == cost.num_residuals else "JᵀJ"
    sample = (
        ""
        if cost.sampled_rows is None
        else f", from {cost.sampled_rows:,} of the samples; loss and gradient from all"
    )
    work = {
        "model and its derivatives": cost.model,
        f"product {product}": cost.product,
        "Cholesky factor": cost.factorization,
    }
    lines = [
        (
            f"one step on {samples:,} samples in {model.dtype}: {cost.num_params:,} trainable "
            f"numbers, {cost.num_residuals:,} residuals"
        ),
        f"  solved by    {cost.linear_solver}, a system of {cost.matrix_size:,} equations{sample}",
        f"  memory       {_bytes(cost.memory)} beside data and weights",
        "  arithmetic   "
        + ", ".join(
            f"{operations / 1e9:.3g} GFLOP for the {part}" for part, operations in work.items()
        ),
        (
            f"  time         {cost.operations / rate:.2g} s or more, at the {rate / 1e9:.0f} "
            f"GFLOP/s of a {PROBE}×{PROBE} product here"
        ),
    ]
    if len(outputs) > 1:
        lines.append(
            f"  the model has {len(outputs)} outputs, whose residuals are counted together"
        )
    if _is_open(model.graph):
        lines.append(f"  inputs of open size are taken as {_OPEN_SIZE} long")
    return "\n".join(lines)


def _is_open(graph: LayerGraph) -> bool:
    return any(size is None for spec in graph.inputs for size in spec.shape)


def _inputs(model: FlaxModel, samples: int) -> PyTree:
    """Shapes of the inputs, as the model's function takes them."""
    inputs = []
    for spec in model.graph.inputs:
        sizes = (_OPEN_SIZE if size is None else size for size in spec.shape)
        inputs.append(
            jax.ShapeDtypeStruct(
                (samples, *sizes), model.dtype if "float" in spec.dtype else "int32"
            )
        )
    return inputs[0] if len(inputs) == 1 else inputs


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
