"""``lmjax fit --report``: the page about a fit."""

from __future__ import annotations

import argparse
import dataclasses
import math
import platform
import shlex
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import jax

import lmjax
from bridge._src.command.data.samples import Sets
from bridge._src.command.data.text import called
from bridge._src.command.evaluation.scores import Scores
from bridge._src.command.failure import CommandError
from bridge._src.command.reporting import page, pictures
from bridge._src.command.reporting.ending import start_losses
from bridge._src.command.reporting.outcomes import Outcome, outcome_of
from bridge._src.command.reporting.statistics import Classes, classes_of, fitted
from bridge._src.formats.output.atomic import replacing
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.outputs.losses import OutputLosses
from lmjax._src.objectives.losses.loss import Loss

#: Classes of which a table says which was taken for which.
_MOST_CLASSES = 20
_PACKAGES = ("lmjax", "jax", "jaxlib", "flax", "numpy")
#: What is in a namespace of arguments and no option.
_NO_OPTIONS = ("run", "command", "arguments", "verbose", "model", "data", "output", "report")


class Fit(NamedTuple):
    """What a page is about."""

    model: FlaxModel  #: as it was converted
    loss: Loss | OutputLosses
    sets: Sets
    result: lmjax.FitResult
    tested: float | None  #: loss on the samples to test on
    scores: Scores  #: the metrics of compile


def write_report(options: argparse.Namespace, fit: Fit) -> None:
    """Writes the page to ``options.report``.

    Raises:
        CommandError: it could not be made or written; where the trained model is, is said.
    """
    try:
        text = _report(options, fit)
        with replacing(options.report) as file:
            file.write(text.encode())
    except Exception as error:
        raise CommandError(
            f"the report cannot be written ({type(error).__name__}: {error}); the trained model "
            f"is in {options.output}"
        ) from error


def _report(options: argparse.Namespace, fit: Fit) -> str:
    model = dataclasses.replace(fit.model, params=fit.result.params)
    loss = fit.loss.parts[0].loss if isinstance(fit.loss, OutputLosses) else fit.loss
    outcomes = [
        outcome_of(name, model, fit.loss, data)
        for name, data in fit.sets._asdict().items()
        if data is not None
    ]
    classes = {outcome.name: classes_of(outcome, loss) for outcome in outcomes}
    classified = {name: found for name, found in classes.items() if found is not None}
    return page.page(
        f"Fit of {model.graph.name}",
        [
            ("Result", _result(fit.result) + _losses(fit)),
            ("Losses", pictures.curves(fit.result)),
            ("Classes", _classes(classified)),
            ("Errors", "" if classified else _errors(outcomes) + pictures.errors(outcomes)),
            ("Data", _data(options, fit.sets, outcomes)),
            ("Training", _training(options, fit.result, loss)),
            ("Model", page.plain(model)),
            ("Versions", _versions()),
        ],
    )


def _result(result: lmjax.FitResult) -> str:
    epochs = len(result.history["loss"])
    kept = (
        "the initial weights"
        if result.best_epoch is None
        else f"the weights of epoch {result.best_epoch + 1}"
    )
    seconds = f" in {result.history['seconds'][-1]:.2f} s" if epochs else ""
    return page.paragraph(result.status.message) + page.paragraph(
        f"{epochs} epochs{seconds}; kept are {kept}."
    )


def _losses(fit: Fit) -> str:
    result, history, kept = fit.result, fit.result.history, fit.result.best_epoch
    rows, before = [], start_losses(result)
    for key, name in (("loss", "training loss"), ("val_loss", "validation loss")):
        if history.get(key):
            best = result.start[key] if kept is None else history[key][kept]
            start = _number(before[key]) if key in before else ""
            rows.append((name, start, _number(best), _number(history[key][-1])))
    if fit.tested is not None:
        rows.append(("test loss", "", _number(fit.tested), ""))
    for part, metrics in fit.scores.kept.items():
        given = fit.scores.start.get(part, {})
        rows += [
            (f"{part} {name}", _number(given[name]) if name in given else "", _number(value), "")
            for name, value in metrics.items()
        ]
    heads = ("start", "kept weights", "last epoch")
    return page.numbers(("", *heads), rows) if rows else ""


def _errors(outcomes: list[Outcome]) -> str:
    rows = [
        (
            f"{one.name}: {part.name}" if part.name else one.name,
            f"{part.samples:,}",
            *map(_number, part[2:]),
        )
        for one in outcomes
        for part in fitted(one)
    ]
    heads = ("values", "RMSE", "MAE", "largest", "R²")
    return page.numbers(("", *heads), rows)


def _classes(found: Mapping[str, Classes]) -> str:
    if not found:
        return ""
    rows = [(name, f"{one.targets.size:,}", f"{one.accuracy:.2%}") for name, one in found.items()]
    parts = [page.numbers(("", "samples", "accuracy"), rows)]
    for name, one in found.items():
        if one.num_classes <= _MOST_CLASSES:
            lines = [(f"class {at}", *line) for at, line in enumerate(one.confusion())]
            heads = ("target", *(f"as {at}" for at in range(one.num_classes)))
            parts += [page.paragraph(f"{name}, taken for:"), page.numbers(heads, lines)]
    return "".join(parts)


def _data(options: argparse.Namespace, sets: Sets, outcomes: list[Outcome]) -> str:
    rows: list[tuple[str, object]] = [("file", called(options.data))]
    others = {
        "file to validate on": options.validation_data,
        "file to test on": options.test_data,
    }
    rows += [(name, called(file)) for name, file in others.items() if file is not None]
    rows += [
        (f"{name} samples", f"{data.num_samples:,}")
        for name, data in sets._asdict().items()
        if data is not None
    ]
    columns = {"inputs": sets.training.features, "targets": sets.training.targets}
    rows += [(name, ", ".join(given)) for name, given in columns.items() if given]
    rows += [
        (f"errors of {one.name}", f"of every {one.every}th sample")
        for one in outcomes
        if one.every > 1
    ]
    return page.facts(rows)


def _training(options: argparse.Namespace, result: lmjax.FitResult, loss: Loss) -> str:
    given: dict[str, object] = {
        f"--{name.replace('_', '-')}": ", ".join(value) if isinstance(value, list) else value
        for name, value in sorted(vars(options).items())
        if name not in _NO_OPTIONS and value not in (None, False, (), [], 0.0)
    }
    given |= {"loss": loss, "linear solver": result.linear_solver}
    if result.sampled_steps:
        given["epochs with JᵀJ of a sample"] = result.sampled_steps
    line = shlex.join(["lmjax", *options.arguments])
    return page.code(line) + page.facts(given.items())


def _versions() -> str:
    device = jax.devices()[0]
    return page.facts(
        [
            ("date", time.strftime("%Y-%m-%d %H:%M %z")),
            *((name, _version(name)) for name in _PACKAGES),
            ("Python", platform.python_version()),
            ("system", platform.platform()),
            ("device", f"{device.platform} ({device.device_kind})"),
        ]
    )


def _version(package: str) -> str:
    if package == "lmjax":
        return lmjax.__version__
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"
