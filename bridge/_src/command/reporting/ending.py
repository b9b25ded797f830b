"""What ``lmjax fit`` says in its last lines, and the table of its epochs."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping
from pathlib import Path

import lmjax
from bridge._src.command.evaluation.scores import Scores, as_logs
from bridge._src.command.failure import CommandError
from bridge._src.command.output import say
from bridge._src.description.errors import ConversionError
from bridge._src.formats.output.atomic import replacing


def say_result(result: lmjax.FitResult, tested: float | None, scores: Scores, output: Path) -> None:
    """Prints what the fit itself has not said.

    Args:
        result: of the fit.
        tested: the loss on the samples to test on, if there are any.
        scores: the metrics of ``compile``.
        output: where the trained model is.
    """
    history, number = result.history, result.best_epoch
    if history["loss"]:
        numbers = result.start if number is None else {n: v[number] for n, v in history.items()}
        kept = _losses(numbers) | as_logs(scores.kept)
        say(f"{len(history['loss'])} epochs, {history['seconds'][-1]:.2f} s: {_listed(kept)}")
        if scores.start:
            start = start_losses(result) | as_logs(scores.start)
            say(f"before the training: {_listed(start)}")
    if tested is not None:
        test = {"loss": tested} | dict(scores.kept.get("test", {}))
        say(f"test {_listed(test)}")
    if result.sampled_steps:
        say(f"JᵀJ of {result.sampled_steps} of the epochs came from a sample of the data")
    say(f"wrote {output}")


def start_losses(result: lmjax.FitResult) -> dict[str, float]:
    """Those before the training, which steps of Adam may begin."""
    return {"loss": result.warm_up[0]} if result.warm_up else _losses(result.start)


def _losses(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: numbers[name] for name in ("loss", "val_loss") if name in numbers}


def _listed(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in numbers.items())


def write_history(options: argparse.Namespace, result: lmjax.FitResult, scores: Scores) -> None:
    """Writes ``options.history``: a line for every epoch. Metrics are in that of the epoch whose
    weights are kept, and before the training in a line of epoch 0.

    Raises:
        CommandError: it cannot be written.
    """
    history, best = result.history, result.best_epoch
    start, kept = as_logs(scores.start), as_logs(scores.kept)
    lines: list[list[object]] = [
        [epoch, *values] for epoch, values in enumerate(zip(*history.values(), strict=True), 1)
    ]
    for line in lines:
        line += kept.values() if best is not None and line[0] == best + 1 else [""] * len(kept)
    if start:
        losses = start_losses(result)
        lines.insert(0, [0, *(losses.get(name, "") for name in history), *start.values()])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([["epoch", *history, *kept], *lines])
    try:
        with replacing(options.history) as file:
            file.write(text.getvalue().encode())
    except ConversionError as error:
        raise CommandError(f"{error}; the trained model is in {options.output}") from error
