"""``lmjax fit``: trains the model in a file on the data in another file, and writes a third."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import lmjax
from bridge._src.command.data.columns import listed
from bridge._src.command.data.samples import Data, Sets
from bridge._src.command.data.sets import check_one_reader, read_sets
from bridge._src.command.data.standardize import insert_normalization, takes_normalization
from bridge._src.command.data.text import called
from bridge._src.command.evaluation.chosen_loss import chosen_loss
from bridge._src.command.evaluation.entering import entering
from bridge._src.command.evaluation.metrics import Metrics
from bridge._src.command.evaluation.scores import Scores, computable, scores_of
from bridge._src.command.failure import CommandError
from bridge._src.command.fit_arguments import add_arguments
from bridge._src.command.output import check_apart, check_writable, note, say
from bridge._src.command.reporting.ending import say_result, write_history
from bridge._src.command.reporting.report import Fit, write_report
from bridge._src.command.rescue import rescue
from bridge._src.command.solver_options import chosen_solver
from bridge._src.conversion.convert import Reading, assembled, read_file
from bridge._src.conversion.save import check_kinds, save_read
from bridge._src.formats.archive import Archive
from bridge._src.formats.files import open_model
from bridge._src.formats.model_file import ModelFile
from bridge._src.formats.output.remains import temporary_folder
from bridge._src.formats.output.targets import place_of
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.data import TEST
from bridge._src.training.following.mean_loss import mean_loss
from bridge._src.training.outputs.losses import OutputLosses
from bridge._src.training.outputs.supervision import Supervision
from bridge._src.training.standardization.request import request_of
from bridge._src.training.train import train
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.runtime import interrupts
from lmjax._src.runtime.optional import needed
from lmjax._src.training.data import VALIDATION
from lmjax._src.typing import Params

_NOT_TRUSTED = 1
_SIGNALLED = 128  #: and the signal's number, as shells have it


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "fit",
        help="train a model file on a file of data",
        description=(
            "Trains MODEL by Levenberg-Marquardt on DATA, by steps on all samples unless told "
            "otherwise, and writes FITTED. TensorFlow is not needed, and Keras only for the "
            "metrics that MODEL was compiled with, before and after the training. Ctrl-C (or "
            "SIGTERM, SIGHUP) ends the training early: the best weights so far are written, and "
            "the exit code is 130 (143, 129)."
        ),
    )
    add_arguments(parser)
    parser.set_defaults(run=run, verbose=1)


def run(options: argparse.Namespace) -> int:
    """Checks everything, trains, writes; returns the exit code.

    What was trained before a signal or an exception is written too.
    """
    with interrupts.watching() as watch:
        watch.heeded = True  # the exit code tells
        code = _run(options, watch)
        return code if watch.received is None else _SIGNALLED + watch.received


def _run(options: argparse.Namespace, watch: interrupts.Watch) -> int:
    if options.patience and not (options.validation_split or options.validation_data):
        raise CommandError("--patience needs --validation-split or --validation-data")
    if options.min_grad is not None and options.batch_size is not None:
        raise CommandError("--min-grad is about steps on all samples; leave --batch-size out")
    with open_model(options.model) as given:
        _check_outputs(options, given)
        wanted = options.verbose or options.history or options.report
        metrics = Metrics.of(given.description.compiled if wanted else {})
        loss = chosen_loss(given, options.loss)
        check_one_reader(options.data, options.validation_data, options.test_data)
        sets = read_sets(options, given.graph.inputs, "fit")
        folded = None if _in_front(options, sets.training, given) else options.standardize
        with _source(options, sets.training, given) as file:
            reading = read_file(file, options.weights)
            model = assembled(reading, options.dtype)
            metrics = computable(metrics, model)
            test_loss = _tester(options, model, loss, sets.test)
            result, failure, start = _train(options, model, loss, sets, folded)
            watch.patience = math.inf  # whoever wants it to end waits until it is written
            if result.status == lmjax.Status.NON_FINITE_START:
                note("fit", f"{result.status.message} Nothing was written.")
                return _NOT_TRUSTED
            _save(options, result.params, reading, file)
    scores = Scores()
    if failure is None:
        stopped = watch.received is not None
        scores = scores_of(metrics, model, (start, result.params), sets, stopped=stopped)
    if options.history:
        write_history(options, result, scores)
    if failure is not None:
        raise CommandError(
            f"{failure}; the best weights of the {len(result.history['loss'])} epochs "
            f"before are written to {options.output}"
            + (", and there is no report" if options.report else "")
        )
    tested = None if test_loss is None else test_loss(result.params)
    if options.report:
        write_report(options, Fit(model, loss, sets, result, tested, scores))
    if options.verbose:
        say_result(result, tested, scores, options.output)
        if options.report:
            say(f"wrote {options.report}")
    return 0


@contextmanager
def _source(options: argparse.Namespace, samples: Data, given: ModelFile) -> Iterator[ModelFile]:
    """The model file to be trained: MODEL, or for the length of the block a copy with a
    Normalization layer in front.
    """
    if not _in_front(options, samples, given):
        yield given
        return
    assert isinstance(given, Archive)
    with temporary_folder(place_of(options.output).parent) as folder:
        insert_normalization(given, folder / "standardized.keras", samples.x)
        given.close()  # all that is needed is in the copy
        with open_model(folder / "standardized.keras") as file:
            yield file


def _in_front(options: argparse.Namespace, samples: Data, given: ModelFile) -> bool:
    """Whether inputs are standardised by a layer in front, and not by a fold."""
    return (
        options.standardize == "inputs"
        and not samples.streamed
        and not options.weights
        and takes_normalization(given)
    )


def _save(options: argparse.Namespace, params: Params, reading: Reading, source: ModelFile) -> None:
    """Writes the trained model; to some other place, and with an error that names it, where its own
    cannot be written.
    """
    try:
        save_read(params, reading, source, options.output, options.weights)
    except Exception as error:  # whatever it is, hours of training are not lost to it
        kept = rescue(
            params, source.path, options.output, options.weights, options.model.resolve().parent
        )
        found = (
            "nor any other place to keep what was trained"
            if kept is None
            else f"what was trained is kept in {kept}"
        )
        raise CommandError(f"{error}; {found}") from error


def _check_outputs(options: argparse.Namespace, model: ModelFile) -> None:
    """What is written must be writable, and none of it may take the place of what is read, but for
    the model itself or its weights.
    """
    check_kinds(model, options.output, options.weights)
    check_writable(options.output)
    data = {
        "the data": options.data,
        "the data to validate on": options.validation_data,
        "the data to test on": options.test_data,
    }
    check_apart(options.output, data)
    others = data | {
        "the model": options.model,
        "the weights": options.weights,
        "the trained model": options.output,
    }
    if options.history:
        check_writable(options.history)
        check_apart(options.history, others)
    if options.report:
        needed("matplotlib", "plot", "--report")
        check_writable(options.report, ".html")
        check_apart(options.report, others | {"the history": options.history})


class _Trained(NamedTuple):
    """What a training did."""

    result: lmjax.FitResult
    failure: str | None  #: what cut it short, if it was an exception
    start: Params  #: what it began with


def _train(
    options: argparse.Namespace,
    model: FlaxModel,
    loss: Loss | OutputLosses,
    sets: Sets,
    standardize: str | None,
) -> _Trained:
    """The training; ``standardize`` is what is folded into the weights."""
    samples, validation, test = sets
    if not model.table.trainable:
        raise CommandError(f"{options.model}: no weight is trainable, so there is nothing to fit")
    solver = chosen_solver(options, samples.num_samples, samples.streamed)
    if options.verbose:
        features = f", inputs {listed(samples.features)}" if samples.features else ""
        held_out = "" if validation is None else f", {validation.num_samples} held out"
        held_out += "" if test is None else f", {test.num_samples} to test on"
        say(
            f"{options.model}: {model.table.num_params} trainable numbers; "
            f"{called(options.data)}: {samples.num_samples} samples{held_out}{features}"
        )
    supervision = Supervision(model.module, loss)
    started: list[Params] = []
    try:
        fit = train(
            model,
            entering(samples, supervision),
            None if validation is None else entering(validation, supervision, VALIDATION),
            loss=loss,
            standardize=request_of(standardize),
            started=started.append,
            batch_size=options.batch_size,
            epochs=options.epochs,
            solver=solver,
            seed=options.seed,
            verbose=options.verbose,
            patience=options.patience,
            goal=options.goal,
            max_seconds=options.max_seconds,
            min_grad=options.min_grad,
            warm_up=options.warm_up,
            warm_up_every=options.warm_up_every,
            restarts=options.restarts,
            regularization="bayesian" if options.bayesian else None,
        )
        return _Trained(fit, None, next(iter(started), model.params))
    except Exception as error:
        until_then = getattr(error, "result", None)
        if isinstance(until_then, lmjax.FitResult):
            what = ": ".join(filter(None, [called(options.data), type(error).__name__, str(error)]))
            return _Trained(until_then, what, next(iter(started), model.params))
        if str(error).startswith("standardize: "):
            raise CommandError(f"{options.model}: --{error}") from error
        if str(error).startswith("warm_up_every: "):
            raise CommandError("--warm-up-every: pass the steps of Adam as --warm-up") from error
        if str(error).startswith("batch_size: not with"):
            message = "--batch-size: not with --bayesian, whose evidence is that of all samples"
            raise CommandError(f"{message}; leave one of them out") from error
        if str(error).startswith("regularization: 'bayesian' "):
            said = str(error).removeprefix("regularization: 'bayesian' ")
            raise CommandError(f"{options.model}: --bayesian {said}") from error
        if isinstance(error, (ValueError, TypeError)):
            of_validation = options.validation_data and str(error).startswith(VALIDATION[:2])
            file = options.validation_data if of_validation else options.data
            raise CommandError(f"{called(file)}: {error}") from error
        raise


def _tester(
    options: argparse.Namespace, model: FlaxModel, loss: Loss | OutputLosses, test: Data | None
) -> Callable[[Params], float] | None:
    """The loss on the samples to test on at given parameters, computed once before the training,
    so that samples that do not fit are refused; None without such samples.
    """
    if test is None:
        return None

    def test_loss(params: Params) -> float:
        data = entering(test, Supervision(model.module, loss), TEST)
        return mean_loss(dataclasses.replace(model, params=params), loss, data)

    try:
        test_loss(model.params)
    except (TypeError, ValueError) as error:
        raise CommandError(f"{called(options.test_data or options.data)}: {error}") from error
    return test_loss
