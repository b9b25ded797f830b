"""Supervised training of a pure function: ``lmjax.fit``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax import checks, iteration, precision
from lmjax.dataset import make_rows
from lmjax.driving import slices
from lmjax.flattening import Structure, unflatten_returned
from lmjax.iteration import State
from lmjax.losses import Loss, find_loss
from lmjax.objectives import SupervisedObjective
from lmjax.progress import ProgressLine
from lmjax.scaling import RunningMaximum
from lmjax.solver import LevenbergMarquardt
from lmjax.status import Status

#: Networks converge in fewer steps with Moré's own rule than with one that forgets: on sinc(10x), 61 parameters, 200
#: steps, it ends at 1e-12 from each of four starts, the other between 1e-13 and 1e-7.
_DEFAULT_SOLVER = LevenbergMarquardt(scaling=RunningMaximum(memory=1.0))

#: Epochs whose losses one call of the compiled loop can record; a longer slice would only delay Ctrl-C.
_RECORD = 64


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What :func:`lmjax.fit` did.

    Attributes:
        params: the best parameters, structured and shaped as they were given.
        history: lists with one number an epoch: ``loss``, ``val_loss`` with validation data, both after the epoch,
            and ``seconds`` of wall-clock time since the start of the fit, compilation included.
        status: why the fit stopped.
    """

    params: Any
    history: dict[str, list[float]]
    status: Status
    _objective: SupervisedObjective = dataclasses.field(repr=False)

    def loss_at(self, params: Any) -> float:
        """The loss of the fit, penalties included, at other ``params`` of the same structure and shapes."""
        structure = self._objective.structure
        dtype = checks.floating_dtype(params)
        with precision.scope(dtype):
            return float(_loss_at(self._objective, structure.flatten_concrete(params, dtype)))


@jax.jit
def _loss_at(objective: SupervisedObjective, params: jax.Array) -> jax.Array:
    return objective.cost(objective.evaluate(params))


class _Run(NamedTuple):
    """The carry of the compiled loop: where the fit stands, and the losses of the epochs of this slice."""

    params: jax.Array
    state: State
    losses: jax.Array
    val_losses: jax.Array
    epochs: jax.Array


def fit(
    model_fn: Callable[[Any, Any], Any],
    params: Any,
    x: Any,
    y: Any,
    *,
    loss: str | Loss = "mse",
    sample_weight: Any = None,
    validation_data: tuple[Any, ...] | None = None,
    epochs: int = 100,
    solver: LevenbergMarquardt | None = None,
    l2: Any = None,
    verbose: int | str = "auto",
) -> FitResult:
    """Trains ``model_fn(params, x)`` by full-batch Levenberg-Marquardt; one epoch is one step on all rows.

    The steps run in a compiled loop; a second call with the same model function and shapes compiles nothing. The
    Gauss-Newton matrix is summed over chunks of rows, so memory does not grow with their number. Ctrl-C ends the fit
    with the best parameters so far and says so in the status.

    Args:
        model_fn: a pure function of (params, x) to outputs with one row for each row of x. A callable pytree is
            taken apart: its array leaves are data, so that changing them compiles nothing.
        params: a pytree of float32 or float64 arrays; their dtype is the precision of the fit.
        x: inputs, an array (N, …) or a pytree of such.
        y: targets, (N, …), of the shape of the outputs (of class indices for the sparse loss).
        loss: "mse", "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy", or one of
            the dataclasses of :mod:`lmjax.losses` (for logits and label smoothing).
        sample_weight: (N,), at least 0; the loss is Σ wᵢ lossᵢ / N, as in Keras.
        validation_data: (x, y) or (x, y, sample_weight), whose loss is recorded after each epoch.
        epochs: the most steps.
        solver: the options; by default those of :class:`lmjax.LevenbergMarquardt` with ``RunningMaximum(memory=1.0)``,
            which suits networks best. Its ``max_steps`` is not used here.
        l2: factors of a penalty Σ l2 · params², a number or a pytree that params extends; part of the loss.
        verbose: 0 silent, 1 or "auto" a progress line in a terminal, 2 plain lines.

    Returns:
        A :class:`FitResult`. The loss never rises above its initial value.

    Raises:
        TypeError, ValueError: what was passed cannot be fitted; the message names the argument and what to do.
    """
    solver = _DEFAULT_SOLVER if solver is None else solver
    if not (isinstance(epochs, (int, np.integer)) and epochs >= 1):
        raise ValueError(f"epochs: expected a whole number of at least 1, got {epochs!r}")
    model = checks.as_pytree_callable(model_fn, "model_fn")
    dtype = checks.floating_dtype(params)
    structure = Structure.of(params)
    progress = ProgressLine(int(epochs), verbose)
    with precision.scope(dtype):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, dtype) if not isinstance(leaf, jax.Array) else leaf.astype(dtype), params)
        build = partial(_objective, model, params, find_loss(loss), _penalty(l2, params, dtype), structure, solver, dtype)
        objective = build(x, y, sample_weight, ("x", "y", "sample_weight"))
        validation = (
            None
            if validation_data is None
            else build(*_split(validation_data), ("validation x", "validation y", "validation sample_weight"))
        )
        flat = structure.flatten_concrete(params, dtype)
        with progress:
            point, history, status = _train(solver, objective, validation, flat, int(epochs), progress)
    return FitResult(unflatten_returned(structure, point), history, status, objective)


def _objective(
    model: Any,
    params: Any,
    loss: Loss,
    l2: Any,
    structure: Structure,
    solver: LevenbergMarquardt,
    dtype: Any,
    x: Any,
    y: Any,
    weight: Any,
    names: Any,
) -> SupervisedObjective:
    rows = make_rows(model, params, loss, x, y, weight, dtype, names)
    return SupervisedObjective(jax.tree.map(jnp.asarray, rows), model, l2, loss, structure, solver.jacobian)


def _split(validation_data: Any) -> tuple[Any, Any, Any]:
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise ValueError("validation_data: expected (x, y) or (x, y, sample_weight)")
    return (*validation_data, None)[:3]


def _penalty(l2: Any, params: Any, dtype: np.dtype[Any]) -> Any:
    if l2 is None:
        return None
    spread = jax.tree.map(
        lambda factor, leaf: np.broadcast_to(np.asarray(factor, dtype), np.shape(leaf)), jax.tree.broadcast(l2, params), params
    )
    return jnp.asarray(Structure.of(params).flatten_concrete(spread, dtype))


def _train(
    solver: LevenbergMarquardt,
    objective: SupervisedObjective,
    validation: SupervisedObjective | None,
    flat: Any,
    epochs: int,
    progress: ProgressLine,
) -> tuple[jax.Array, dict[str, list[float]], Status]:
    """The host's side of the loop: slices, history, progress, Ctrl-C."""

    def advance(run: _Run, steps: int) -> _Run:
        return jax.block_until_ready(
            _run_epochs(solver, objective, validation, run.params, run.state, min(steps, epochs - len(history["loss"])))
        )

    names = ["loss", "seconds"] if validation is None else ["loss", "val_loss", "seconds"]
    history: dict[str, list[float]] = {name: [] for name in names}
    run, status, elapsed = _start(flat), Status.RUNNING, 0.0
    try:
        for latest, _, seconds in slices(advance, run, 1, _RECORD):
            run = latest
            done = int(run.epochs)
            history["loss"] += np.asarray(run.losses, float)[:done].tolist()
            if validation is not None:
                history["val_loss"] += np.asarray(run.val_losses, float)[:done].tolist()
            history["seconds"] += (elapsed + seconds * np.arange(1, done + 1) / done).tolist()
            elapsed += seconds
            progress.update(len(history["loss"]), {name: values[-1] for name, values in history.items() if name != "seconds"})
            status = Status(int(run.state.status))
            if status != Status.RUNNING or len(history["loss"]) >= epochs:
                break
    except KeyboardInterrupt:
        if not history["loss"]:  # interrupted before the first epoch was done: there is nothing to keep
            raise
        status = Status.INTERRUPTED
    return run.params, history, Status.MAX_STEPS if status == Status.RUNNING else status


def _start(flat: Any) -> _Run:
    params = jnp.asarray(flat)
    empty = jnp.zeros((_RECORD,), params.dtype)
    return _Run(params, iteration.initial_state(params), empty, empty, jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnums=0)
def _run_epochs(
    solver: LevenbergMarquardt,
    objective: SupervisedObjective,
    validation: SupervisedObjective | None,
    params: jax.Array,
    state: State,
    limit: jax.Array,
) -> _Run:
    """Up to ``limit`` (data, at most ``_RECORD``) epochs with their losses."""

    def running(run: _Run) -> jax.Array:
        return (run.state.status == Status.RUNNING) & (run.epochs < limit)

    def epoch(run: _Run) -> _Run:
        params, state = iteration.step(solver, objective, None, run.params, run.state)
        val_loss = state.cost if validation is None else validation.cost(validation.evaluate(params))
        return _Run(params, state, run.losses.at[run.epochs].set(state.cost), run.val_losses.at[run.epochs].set(val_loss), run.epochs + 1)

    empty = jnp.zeros((_RECORD,), params.dtype)
    return jax.lax.while_loop(running, epoch, _Run(params, state, empty, empty, jnp.zeros((), jnp.int32)))
