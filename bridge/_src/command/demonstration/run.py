"""The demonstration, stage by stage."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from types import ModuleType

import jax
import numpy as np

from bridge._src import public as bridge
from bridge._src.command.demonstration import curve
from bridge._src.command.demonstration.frameworks import load_keras
from bridge._src.command.demonstration.problems import Problem, problems
from bridge._src.typing import KerasModel

_SECONDS = 1.0  #: for each run of the comparison
_STARTS = 3  #: of the comparison
_RATES = (1e-3, 1e-2)  #: of Adam in the comparison
#: largest difference between Keras' and the Flax function's predictions: both compute in float32
_AGREEMENT = 1e-5


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
    agree = True
    for problem in problems(seed):
        agree &= _problem_stage(keras, framework, problem, output, seed)
    print(f"\nAll of this took {time.perf_counter() - begin:.0f} s.")
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
) -> bool:
    print(f"\n{problem.name}: {problem.description}")
    print(
        f"  data       {len(problem.train[0])} samples to train on, {len(problem.test[0])} held out"
    )
    keras.utils.set_random_seed(seed)
    model = problem.build(keras)
    layers = ", ".join(type(layer).__name__ for layer in model.layers)
    print(f"  model      {framework} Sequential of {layers}: {model.count_params()} parameters")
    converted = bridge.from_keras(model)
    difference = _difference(model, converted, problem)
    print(
        f"  convert    Flax function of {converted.table.num_params} trainable numbers; "
        f"its outputs are within {difference:.1e} of Keras'"
    )
    _comparison_stage(problem, model, picture_of(output, problem.name))
    _training_stage(problem, model)
    return _export_stage(keras, model, problem, output / f"{problem.name}.keras")


def picture_of(output: Path, name: str) -> Path:
    """Where the losses of the comparison on a problem are drawn."""
    return output / f"{name}.png"


def _comparison_stage(problem: Problem, model: KerasModel, picture: Path) -> None:
    """The held-out samples decide, so that it is told where a lower training loss is no gain."""
    print(f"  compare    on {_STARTS} starts, {_SECONDS:g} s for each run, held-out samples decide")
    found = bridge.compare(
        model,
        *problem.train,
        validation_data=problem.test,
        seconds=_SECONDS,
        seeds=_STARTS,
        rates=_RATES,
        verbose=0,
    )
    found.plot(picture)
    print(textwrap.indent(repr(found), " " * 13))
    print(f"             losses against seconds: {picture}")


def _training_stage(problem: Problem, model: KerasModel) -> None:
    begin = time.perf_counter()
    result = bridge.fit(model, *problem.train, epochs=problem.epochs, verbose=0)
    print(
        f"  train      {len(result.history['loss'])} steps of Levenberg-Marquardt in "
        f"{time.perf_counter() - begin:.1f} s with compilation"
    )
    print(f"             {result.status.message}")
    losses = [float(model.evaluate(*data, verbose=0)) for data in (problem.train, problem.test)]
    score = problem.score(model.predict(problem.test[0], verbose=0), problem.test[1])
    print(
        f"             training loss {losses[0]:.4g}, held-out loss {losses[1]:.4g}, "
        f"{problem.score_name} held out {score:.3f}"
    )


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
