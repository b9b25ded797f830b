"""The demonstration, stage by stage."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jax
import numpy as np

from bridge._src import public as bridge
from bridge._src.command.demonstration import adam, curve, plot
from bridge._src.command.demonstration.adam import Curve
from bridge._src.command.demonstration.frameworks import load_keras
from bridge._src.command.demonstration.problems import Problem, problems
from bridge._src.typing import KerasModel
from lmjax._src.typing import NumpyArray

_BUDGET = 1.0  #: seconds of training that Adam gets at least; more if Levenberg-Marquardt took more
#: largest difference between Keras' and the Flax function's predictions: both compute in float32
_AGREEMENT = 1e-5


class Fitted(NamedTuple):
    """A model after a fit, the wall clock it took, and its curve."""

    model: KerasModel
    seconds: float
    curve: Curve


def run(output: Path, seed: int) -> int:
    """Runs all stages, writes models and plot into ``output``; returns 1 if an exported model
    predicts something else.
    """
    begin = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    _curve_stage()
    keras, framework = load_keras()
    print(
        f"\nModels are built with {framework} (Keras {keras.__version__}); "
        f"Levenberg-Marquardt runs in JAX on {jax.devices()[0]}."
    )
    curves, agree = {}, True
    for problem in problems(seed):
        fits, agrees = _problem_stage(keras, framework, problem, output, seed)
        curves[problem.name] = [fit.curve for fit in fits]
        agree = agree and agrees
    plot.save(output / "loss.png", curves)
    print(
        f"\nLoss against seconds: {output / 'loss.png'}. All of this took "
        f"{time.perf_counter() - begin:.0f} s."
    )
    return 0 if agree else 1


def _curve_stage() -> None:
    print(
        "Curve fit with certified answers: NIST Thurber, 37 observations, 7 parameters, "
        "NIST's first start"
    )
    begin = time.perf_counter()
    solution, problem = curve.fit()
    digits = curve.certified_digits(solution.params, problem["certified_params"])
    print(
        f"  {int(solution.num_steps)} steps, {time.perf_counter() - begin:.1f} s with "
        f"compilation. {solution.status.message}"
    )
    print("  parameter      fitted  standard error  digits of NIST's value")
    for number, (value, error, agreeing) in enumerate(
        zip(solution.params, solution.standard_errors(), digits, strict=True), 1
    ):
        print(f"  b{number}     {value:14.8g}  {error:14.6g}  {agreeing:.1f}")


def _problem_stage(
    keras: ModuleType, framework: str, problem: Problem, output: Path, seed: int
) -> tuple[list[Fitted], bool]:
    print(f"\n{problem.name}: {problem.description}")
    print(
        f"  data       {len(problem.train[0])} samples to train on, {len(problem.test[0])} held out"
    )
    keras.utils.set_random_seed(seed)
    model = problem.build(keras)
    start = model.get_weights()
    layers = ", ".join(type(layer).__name__ for layer in model.layers)
    print(f"  model      {framework} Sequential of {layers}: {model.count_params()} parameters")
    converted = bridge.from_keras(model)
    difference = _difference(model, converted, problem)
    print(
        f"  convert    Flax function of {converted.table.num_params} trainable numbers; "
        f"its outputs are within {difference:.1e} of Keras'"
    )
    fits = [_levenberg_marquardt(problem, model, start)]
    budget = max(fits[0].seconds, _BUDGET)
    fits += [_adam(keras, problem, start, budget, rate) for rate in adam.LEARNING_RATES]
    _table(fits, problem)
    return fits, _export_stage(keras, model, problem, output / f"{problem.name}.keras")


def _levenberg_marquardt(problem: Problem, model: KerasModel, start: list[NumpyArray]) -> Fitted:
    begin = time.perf_counter()
    bridge.fit(model, *problem.train, epochs=1, verbose=0)
    model.set_weights(start)
    warm_up, begin = time.perf_counter() - begin, time.perf_counter()
    result = bridge.fit(model, *problem.train, epochs=problem.epochs, verbose=0)
    seconds = time.perf_counter() - begin
    losses = result.history["loss"]
    print(
        f"  train      {len(losses)} steps of Levenberg-Marquardt in {seconds:.2f} s, "
        f"after {warm_up:.1f} s of compiling"
    )
    print(f"             {result.status.message}")
    return Fitted(model, seconds, Curve("Levenberg-Marquardt", result.history["seconds"], losses))


def _adam(
    keras: ModuleType,
    problem: Problem,
    start: list[NumpyArray],
    budget: float,
    learning_rate: float,
) -> Fitted:
    model, history = adam.train(keras, problem, start, budget, learning_rate)
    print(
        f"  compare    {len(history.losses)} epochs of {history.label}, batches of "
        f"{adam.BATCH_SIZE}, in {history.seconds[-1]:.2f} s"
    )
    return Fitted(model, history.seconds[-1], history)


def _table(fits: list[Fitted], problem: Problem) -> None:
    print(
        f"  {'result':<10} "
        f"{'':<26}{'training loss':>14}{'held-out loss':>15}{problem.score_name:>10} held out"
    )
    for fit in fits:
        losses = [
            float(fit.model.evaluate(*data, verbose=0)) for data in (problem.train, problem.test)
        ]
        score = problem.score(fit.model.predict(problem.test[0], verbose=0), problem.test[1])
        print(f"  {'':<10} {fit.curve.label:<26}{losses[0]:>14.4g}{losses[1]:>15.4g}{score:>10.3f}")
    best = min(fits, key=lambda fit: fit.model.evaluate(*problem.train, verbose=0))
    print(f"  {'':<10} lowest training loss here and now: {best.curve.label}")


def _export_stage(keras: ModuleType, model: KerasModel, problem: Problem, path: Path) -> bool:
    model.save(path)
    difference = _difference(
        keras.models.load_model(path, compile=False), bridge.from_keras(path), problem
    )
    agrees = difference <= _AGREEMENT
    print(
        f"  export     {path}, reloaded: Keras and Flax function differ by "
        f"{difference:.1e} at most{'' if agrees else ' (TOO MUCH)'}"
    )
    return agrees


def _difference(model: KerasModel, converted: bridge.FlaxModel, problem: Problem) -> float:
    outputs = np.asarray(converted.apply(converted.params, problem.test[0]))
    return float(np.max(np.abs(outputs - model.predict(problem.test[0], verbose=0))))
