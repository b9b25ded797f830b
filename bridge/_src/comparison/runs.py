"""All runs of a comparison."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import lmjax
from bridge._src.comparison.adam import adam
from bridge._src.comparison.comparison import Comparison, Key
from bridge._src.comparison.compilations import until_warm
from bridge._src.comparison.curve import Curve
from bridge._src.comparison.lbfgs import lbfgs
from bridge._src.comparison.levenberg_marquardt import levenberg_marquardt
from bridge._src.comparison.task import Task, task_of
from bridge._src.comparison.verdict import ADAM, LBFGS, LEVENBERG_MARQUARDT, label
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.renaming import to_numbers
from bridge._src.training.starts.starts import starts_of
from bridge._src.training.train import ready
from lmjax._src.arrays import arguments
from lmjax._src.runtime import precision
from lmjax._src.runtime.optional import needed
from lmjax._src.training.data import Data

#: Learning rates that Adam is tried with.
RATES = (1e-3, 3e-3, 1e-2, 3e-2)


def compare_runs(
    converted: FlaxModel,
    data: Data,
    held_out: Data | None,
    *,
    loss: Any,
    seconds: float,
    seeds: int,
    rates: Sequence[float],
    batch_size: int,
    solver: lmjax.LevenbergMarquardt | None = None,
    say: Callable[[str], object] | None = None,
) -> Comparison:
    """The comparison on a converted model, which is not changed.

    Args:
        converted: the model.
        data: to train on.
        held_out: to validate on.
        loss: as for :func:`~bridge._src.training.train.train`.
        seconds: for each run.
        seeds: how many starts.
        rates: Adam's learning rates.
        batch_size: rows in a batch of Adam's.
        solver: of Levenberg-Marquardt.
        say: is told of each run in a line.
    """
    seconds = arguments.real_number(seconds, "seconds", 0.0)
    if seconds == 0:
        raise ValueError("seconds: expected a number above 0, got 0")
    seeds = arguments.whole_number(seeds, "seeds", 1)
    batch_size = arguments.whole_number(batch_size, "batch_size", 1)
    tried = [arguments.real_number(rate, "rates", 0.0) for rate in rates]
    if not tried:
        raise ValueError("rates: expected at least one learning rate for Adam, got none")
    needed("optax", "optax", "a comparison")
    starts = starts_of(converted, seeds)
    with precision.scope(converted.dtype):
        prepared = ready(converted, data, held_out, loss)
        task = task_of(prepared, solver)
        points = [task.start(to_numbers(params, prepared.model.module)) for params in starts.params]
        curves, cold = _curves(
            _methods(task, seconds, tried, batch_size, solver), points, say or (lambda _: None)
        )
    but = f", but by {cold}, whose losses are therefore too high" if cold else ""
    plural = "s" if seeds > 1 else ""
    rows = min(batch_size, task.objective.num_rows)
    remarks = [
        f"{seeds} start{plural} ({starts.origin}); all in {converted.dtype}.",
        f"Nothing was compiled while a clock ran{but}.",
        f"Adam had {seconds:g} s with each rate, in batches of {rows}; * marks what is compared.",
    ]
    if task.bounds is not None:
        remarks.append("L-BFGS is left out: it does not serve constraints on weights.")
    return Comparison(curves, seconds, remarks)


def _methods(
    task: Task,
    seconds: float,
    rates: Sequence[float],
    batch_size: int,
    solver: lmjax.LevenbergMarquardt | None,
) -> dict[Key, Callable[[Any], Curve]]:
    """What runs from a start, by method and rate."""
    methods: dict[Key, Callable[[Any], Curve]] = {
        (LEVENBERG_MARQUARDT, None): lambda start: levenberg_marquardt(task, start, seconds, solver)
    }
    for rate in rates:
        methods[ADAM, rate] = lambda start, rate=rate: adam(  # type: ignore[misc]
            task, start, seconds, rate, batch_size
        )
    if task.bounds is None:
        methods[LBFGS, None] = lambda start: lbfgs(task, start, seconds)
    return methods


def _curves(
    methods: dict[Key, Callable[[Any], Curve]],
    points: Sequence[Any],
    say: Callable[[str], object],
) -> tuple[dict[Key, list[Curve]], str]:
    """The runs, in turn at each start, and the methods in which something was always compiled."""
    curves: dict[Key, list[Curve]] = {key: [] for key in methods}
    cold: list[str] = []
    for number, point in enumerate(points, 1):
        for (method, rate), run in methods.items():
            gc.collect()  # not on the clock
            curve, warm = until_warm(lambda run=run, point=point: run(point))  # type: ignore[misc]
            curves[method, rate].append(curve)
            if not warm and method not in cold:
                cold.append(method)
            name, kept = label({"method": method, "rate": rate}), curve.kept
            losses = f"loss {curve.losses[kept]:.4g}"
            if curve.is_validated:
                losses += f", val_loss {curve.val_losses[kept]:.4g}"
            say(f"start {number} of {len(points)}: {name}: {losses}, {curve.steps[-1]} steps")
    return curves, " and ".join(cold)
