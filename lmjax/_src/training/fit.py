"""Supervised training of a pure function: ``lmjax.fit``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh

from lmjax._src.arrays import arguments, vectors
from lmjax._src.arrays.numbers import check_captured
from lmjax._src.arrays.structure import Structure
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.damping import Nielsen
from lmjax._src.levenberg_marquardt.effects import check_effect
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.named import find_loss
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.plots.names import NOT_METRICS
from lmjax._src.runtime import interrupts, meshes, precision
from lmjax._src.training.bayesian.laplace import End, warn_of_interpolation
from lmjax._src.training.bayesian.prior import check_form, fitted_to, prior_of, request_of
from lmjax._src.training.bayesian.request import Bayesian
from lmjax._src.training.data import Data, data_of, validation_data_of
from lmjax._src.training.epochs.course import Course
from lmjax._src.training.epochs.minibatch import BATCH_SOLVER, Batches, loss_of
from lmjax._src.training.epochs.race import Race, Start, follow_best, strengths
from lmjax._src.training.epochs.warm_up import warmed_up
from lmjax._src.training.fit_result import FitResult, mean_offset
from lmjax._src.training.following.continuation import FitState, check_state
from lmjax._src.training.following.listening import Audience, Callback, Listener, listener_of
from lmjax._src.training.following.progress import Progress
from lmjax._src.training.following.recording import Record, kept
from lmjax._src.training.following.selection import Kept, Rules, rules_of
from lmjax._src.training.forecast import forecast
from lmjax._src.training.penalties import limits_of, penalty_of, serves_arrays
from lmjax._src.training.setup import (
    examine_loss,
    feasible_set,
    in_dtype,
    made_by_of,
    objectives,
    returned,
)
from lmjax._src.typing import DType, ModelFn, Params, PyTree

#: For networks λ falls more slowly than in ``least_squares``: on four data sets from three starts
#: each the way to within a tenth of the final loss, in orders of magnitude, takes a seventh less
#: time. With Moré's own scaling, ``RunningMaximum(memory=1.0, power=1.0)``, it takes two fifths
#: more. A first λ of 1e-2: with 1e-3 spirals and sinc(10x) have a larger loss after 20 steps
#: (geometric means of ten starts), with 0.1 sinc(10x) and a function of eight inputs.
FIT_SOLVER = LevenbergMarquardt(damping=Nielsen(initial=1e-2, first_try_limit=1 / 3), halvings=8)


#: Of a template, whose rows are put in later.
_NO_ROWS: PyTree = None


def fit(
    model_fn: ModelFn,
    params: Params,
    x: PyTree,
    y: PyTree = None,
    *,
    loss: str | Loss = "mse",
    sample_weight: PyTree = None,
    validation_data: tuple[PyTree, ...] | None = None,
    batch_size: int | None = None,
    epochs: int = 100,
    solver: LevenbergMarquardt | None = None,
    seed: int = 0,
    l2: PyTree = None,
    l1: PyTree = None,
    orthogonal_rows: PyTree = None,
    orthogonal_columns: PyTree = None,
    bounds: PyTree = None,
    callbacks: Callback | Sequence[Callback] | Listener = (),
    verbose: int | str = "auto",
    restore: str | None = None,
    patience: int | None = None,
    goal: float | None = None,
    max_seconds: float | None = None,
    min_grad: float | None = None,
    shuffle: bool = True,
    steps_per_epoch: int | None = None,
    validation_freq: int | Collection[int] = 1,
    state: FitState | None = None,
    warm_up: int = 0,
    warm_up_every: int | None = None,
    restarts: Sequence[Params] = (),
    regularization: str | Bayesian | None = None,
) -> FitResult:
    """Trains ``model_fn(params, x)`` by Levenberg-Marquardt; one epoch is one step on all rows, or
    one on each batch.

    The steps run in a compiled loop; a second call with the same model function and shapes compiles
    nothing. The Gauss-Newton matrix is summed over chunks of rows, so memory does not grow with
    their number.

    Ctrl-C ends the fit with the best parameters so far and says so in the status, before the next
    slice of steps or chunk of data; a second Ctrl-C does not wait for that. So do SIGTERM and
    SIGHUP where the program leaves them to the system: in the main thread, and not in the children
    of ``multiprocessing``; all handlers are restored at the end. Whatever exception ends the fit
    after its first epoch (of the data, of a callback, a lack of memory) carries the result until
    then as its attribute ``result``, a :class:`FitResult`. Of an epoch that was not finished
    nothing is kept.

    Data on disk or in batches (see ``x``) are read again in every step, in chunks that are the only
    ones in memory. A step takes one pass over the data while its curvature comes from a sample
    (``LevenbergMarquardt.curvature_sample``), else three.

    With ``batch_size`` every batch gets a step of its own, whose damping goes on from batch to
    batch. After each epoch the loss is computed on all data, and may have risen. Rows in memory are
    shuffled anew for each epoch; streams are taken in their own order.

    With validation data the parameters that are returned are those of the least validation loss,
    the initial ones among them; else those of the least loss (see ``restore``).

    Args:
        model_fn: a pure function of (params, x) to outputs with one row for each row of x, made of
            that row alone: of models that take a mean over the batch, or depend on the order of
            rows, derivatives by rows are wrong. A few rows are tried, and such models refused. A
            callable pytree is taken apart: its array leaves are data, so that changing them
            compiles nothing.
        params: a pytree of float32 or float64 arrays; their dtype is the precision of the fit.
        x: inputs, an array (N, …) or a pytree of such. NumPy memory maps, HDF5 and Zarr datasets
            are streamed. Without ``y`` a collection of batches (x, y) or (x, y, sample_weight) that
            can be read again and again: a ``tf.data.Dataset``, a Keras ``PyDataset``, a list, or a
            function that returns an iterator.
        y: targets, (N, …), of the shape of the outputs (of class indices for the sparse loss).
        loss: one of Keras' names, such as "mse" or "categorical_crossentropy", or an object
            of :mod:`lmjax.losses` (for options, and for functions of your own) or as
            :class:`lmjax.extend.Loss` describes it.
        sample_weight: (N,), at least 0; the loss is Σ wᵢ lossᵢ / N, as in Keras. Where outputs have
            steps, (N, T, …, O), also one for each step, (N, T, …).
        validation_data: (x, y), (x, y, sample_weight) or a collection of batches, whose loss is
            recorded after each epoch, and decides on the parameters that are returned.
        batch_size: rows in a batch; None for one step on all rows. The last batch of an epoch may
            be smaller.
        epochs: the most epochs.
        solver: the options. By default those that suit networks: ``damping=Nielsen(initial=1e-2,
            first_try_limit=1/3)`` and ``halvings=8``; for batches ``damping=Nielsen(initial=1e-2,
            floor=1e-3, first_try_limit=1/3)`` and ``scaling=IdentityScaling()``.
            Options that would have no effect are refused: those of whole runs (``max_steps``,
            ``polish``, ``second_run``) and of residual functions (``non_monotonic``,
            ``jacobian_chunk``, ``jacobian_dtype``); with batches all but ``damping``, ``scaling``,
            ``linear_solver`` and ``jacobian``.
        seed: of the shuffling; equal seeds give equal fits.
        l2: factors of a penalty Σ l2 · params², a number or a pytree that params extends; part of
            the loss.
        l1: factors of a penalty Σ l1 · abs(params), at least 0, likewise; it makes parameters
            exactly zero. A step ends at the zeros that it would cross, and the next one may go on
            to the other side; a parameter of zero stays while that is what lowers the loss.
        orthogonal_rows: factors of a penalty on the cosines between the rows of matrices, at least
            0, a number or a pytree that params extends: each times the mean of abs(cosine) over
            all pairs of rows (Keras' ``OrthogonalRegularizer``). Zero for what is no matrix.
            Cosines come within 1e-5 of zero.
        orthogonal_columns: likewise, between the columns.
        bounds: (lower, upper) as for :func:`lmjax.least_squares`, or a
            :class:`lmjax.extend.FeasibleSet` over the flattened params; a start outside is
            projected first, and so is the end of every step, with ``batch_size``, too.
        callbacks: functions, called after every epoch with its number (from 0) and a dictionary of
            its numbers, those of the history of :class:`FitResult`. One that returns something true
            ends the fit after this epoch. They run on the host, in JAX's mode of the caller, so
            that every epoch is one call of the compiled step.
        verbose: 0 silent; 1 or "auto" one live line in a terminal or a notebook, and elsewhere a
            plain line every ten seconds and for the last epoch; 2 a plain line for every epoch. At
            the end a line says why the fit stopped and which epoch was kept.
        restore: whose parameters are returned: those of the least "validation" loss (the default
            with validation data), of the least "training" loss, or of the "last" epoch.
        patience: the fit ends when so many validation losses in a row were not below the least one
            before them (``max_fail`` of MATLAB's ``trainlm``, which has 6).
        goal: the fit ends when the loss is at most this.
        max_seconds: the fit ends with the first epoch that is done after so many seconds,
            compilation included.
        min_grad: the fit ends when the norm of the loss' gradient, before the step of an epoch, was
            at most this (MATLAB's ``min_grad``). Not with ``batch_size``.
        shuffle: whether rows in memory are shuffled for each epoch of batches.
        steps_per_epoch: the most batches in an epoch; None for all.
        validation_freq: a validation loss is computed after every so many epochs, or after those of
            the numbers (from 1) in a collection.
        state: of an earlier fit of the same data (``FitResult.state``), to go on from its last
            epoch with its λ, scaling, validation and order of rows, as if it had not ended: five
            epochs and five more are those of a fit of ten, bit for bit. ``epochs`` counts those of
            this call, and ``validation_freq`` those before, too; of ``params`` only the structure
            counts. ``patience``, ``goal``, ``min_grad`` and ``max_seconds`` may be others. Where
            another epoch would not change anything, there is none.
        warm_up: so many steps of Adam on all rows before the first epoch, from whose least loss the
            fit begins; their rate falls from 0.01 to zero. Each costs about as much as a gradient.
            They are no epochs, and their time is not that of ``max_seconds``. The extra
            ``lmjax[optax]`` brings Optax.
        warm_up_every: another ``warm_up`` steps of Adam follow after every so many epochs, from
            where the fit is then, and the epochs go on from their least loss with a new λ.
        restarts: further starts, pytrees like ``params``, from which fits are made, too; the best
            counts, by the loss that ``restore`` names, and the others are in ``restarts`` of the
            result. Side by side in one compiled loop where that is faster: on an accelerator, and
            small ones on a CPU, for data in memory, steps on all rows, and without callbacks; else
            one after the other, with ``max_seconds`` in equal shares. The first to reach the
            ``goal`` ends all. Callbacks hear of the best one alone, which is fitted once more for
            them.
        regularization: "bayesian", or an :class:`lmjax.Bayesian` with its options: a penalty
            Σ αₖ params² that begins strong and whose factors follow, epoch by epoch, from the
            evidence of the data, and so does the noise of squared errors (MATLAB's ``trainbr``).
            No data are held out for it. Losses that are reported are without the penalty, the
            parameters returned are by default those of the last epoch, ``restarts`` are ranked by
            their evidence, and ``posterior`` of the result says how sure predictions are. For
            "mse" (with one noise for all columns of the targets), cross-entropies and "poisson",
            data in memory and steps on all rows; numbers should be around one. Each epoch takes one
            more factorisation than others, and each start is fitted twice, from a strong penalty
            and from a weak one.

    Returns:
        A :class:`FitResult`. The loss by which its parameters were chosen is never above the
        initial one, unless ``restore`` is "last".

    Raises:
        TypeError, ValueError: what was passed cannot be fitted; the message names the argument and
            what to do.
        KeyboardInterrupt: Ctrl-C came before the first epoch was done.
        SystemExit: SIGTERM or SIGHUP did; the exit code is 143 or 129.

    Sources: the options of the solver say where each comes from; curvature of losses other than
        squares: N. N. Schraudolph, "Fast curvature matrix-vector products", Neural Computation 14,
        2002; steps beside ``l1``: G. Andrew, J. Gao, "Scalable training of L1-regularized
        log-linear models", ICML 2007; beside ``orthogonal_rows``: iteratively reweighted least
        squares, E. J. Schlossmacher, Journal of the American Statistical Association 68, 1973.

    Example:
        A network of four units.

        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import lmjax
        >>> def network(params, x):
        ...     hidden = jnp.tanh(x @ params["kernel"] + params["bias"])
        ...     return hidden @ params["out"]
        >>> random = np.random.default_rng(0)
        >>> start = {
        ...     "kernel": random.normal(size=(1, 4)),
        ...     "bias": random.normal(size=4),
        ...     "out": random.normal(size=(4, 1)),
        ... }
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> result = lmjax.fit(network, start, x, np.sin(3 * x), epochs=50, verbose=0)
        >>> len(result.history["loss"]) <= 50, result.history["loss"][-1] < 1e-5
        (True, True)

        In batches of ten rows, with a penalty on the weights:

        >>> result = lmjax.fit(
        ...     network, start, x, np.sin(3 * x), batch_size=10, l2=1e-6, epochs=3, verbose=0
        ... )
        >>> result.history["loss"][-1] < result.history["loss"][0]
        True
    """
    epochs = arguments.whole_number(epochs, "epochs", 1)
    batches = _batches(batch_size, seed, shuffle, steps_per_epoch, min_grad)
    if solver is None:
        solver = FIT_SOLVER if batches is None else BATCH_SOLVER
    door = "a fit of a model" if batches is None else "a fit in batches"
    check_effect(solver, door, FIT_SOLVER, BATCH_SOLVER)
    model = arguments.as_pytree_callable(model_fn, "model_fn")
    dtype = arguments.floating_dtype(params)
    structure, mesh = Structure.of(params), meshes.explicit_mesh((params, x, y))
    check_state(state)
    listener = listener_of(callbacks)
    data = x if isinstance(x, Data) else data_of(x, y, sample_weight)
    held_out = None if validation_data is None else validation_data_of(validation_data)
    bayesian = request_of(
        regularization,
        l2=l2,
        l1=l1,
        orthogonal_rows=orthogonal_rows,
        orthogonal_columns=orthogonal_columns,
        bounds=bounds,
        batch_size=batch_size,
    )
    if restore is None and bayesian is not None and held_out is None:
        restore = "last"  # the loss rises where a start was overfitted
    rules = rules_of(
        restore,
        patience,
        goal,
        max_seconds,
        validation_freq,
        min_grad,
        validated=held_out is not None,
    )
    adam = _adam(warm_up, warm_up_every, state)
    progress = Progress(epochs, verbose)
    warmed: list[list[float]] = []
    others = _others(restarts, params, state)
    ran = Race([], 0, [], None)
    record, offsets = Record(rules, whole=batches is None), {"loss": 0.0, "val_loss": 0.0}

    def result() -> FitResult:
        starts = {"loss": record.start, "val_loss": record.val_start}
        return FitResult(
            returned(structure, record.params, mesh),
            record.history,
            record.status,
            course.solver.chosen.name,
            record.sampled_steps,
            {name: starts[name] for name in starts if name in record.history},
            record.best_epoch,
            rules,
            objective,
            validation,
            offsets,
            record.state(made_by),
            record.origin,
            warmed[ran.best] if warmed else [],
            ran.ends if others else [],
            ran.best,
            [end for one in (record, *ran.records) if (end := _end(one, course)) is not None],
        )

    with interrupts.watching() as watch, kept(record, result), precision.scope(dtype):
        params = in_dtype(meshes.automatic(params), dtype)
        check_captured(model, "model_fn")
        penalty = penalty_of(l2, l1, params, dtype, orthogonal_rows, orthogonal_columns)
        limits = limits_of(feasible_set(bounds, params, dtype), penalty)
        template = SupervisedObjective(
            _NO_ROWS,
            model,
            penalty,
            find_loss(loss),
            structure,
            solver.jacobian,
            layerwise=serves_arrays(penalty, limits, structure),
        )

        def flattened(tree: Params) -> Vector:
            point = structure.flatten_concrete(in_dtype(meshes.automatic(tree), dtype), dtype)
            return point if limits is None else np.asarray(limits.project(jnp.asarray(point)))

        flat = flattened(params)
        objective: Any
        validation: Any
        objective, validation = objectives(template, params, dtype, data, held_out)
        offsets["loss"] = mean_offset(objective)
        if validation is not None:
            offsets["val_loss"] = mean_offset(validation)
        examine_loss(objective, flat)
        made_by = made_by_of(
            *(template, solver, params, objective, validation, batches, rules, limits, adam),
            bayesian,
        )
        flat = flat if state is None else state.begin(made_by, structure)
        audience = _audience(listener, structure, dtype, mesh)
        skipped, flat = (0, flat) if audience is None else _heard(*audience.begin(), flat, state)
        rules = record.skip(skipped if state is None else int(state.epochs))
        prior = prior_of(bayesian, params, objective, flat)
        objective, validation = fitted_to(prior, objective, validation)
        course = Course(
            *(solver, objective, validation, epochs - skipped, rules, offsets),
            *(batches, audience, limits, adam if warm_up_every else None),
            prior,
        ).resolved(flat)
        check_form(prior, course.solver)

        def begin(point: Vector) -> Start:
            passed = [point]
            if adam is not None and state is None and not skipped:
                warmer = warmed_up(objective, jnp.asarray(point), adam[0], limits)
                warmed.append([cost + offsets["loss"] for cost in warmer.costs])
                progress.note(_of_adam(warmed[-1]))
                passed.append(warmer.params)
            return Start(passed[-1], _first_kept(rules, validation, offsets["val_loss"], passed))

        start, *further = [
            begin(point)._replace(number=number)
            for number, point in enumerate([flat, *(() if skipped else map(flattened, others))])
        ]
        if batches is None and verbose:
            progress.note(forecast(course.solver, BATCH_SOLVER, objective, jnp.asarray(flat)))
        end = Status.MAX_STEPS if skipped >= epochs else Status.RUNNING
        if state is not None:
            first_kept, end = record.resume(state, start.kept, rules)
            start = Start(flat, first_kept)
        if end != Status.RUNNING:
            now = loss_of(objective, jnp.asarray(start.params)) + offsets["loss"]
            record.stay(start.params, now, start.kept, end)
            with precision.outside():
                return result()
        with progress:
            anew = state is None and not skipped
            starts = strengths([start, *further], course.prior if anew else None)
            ran = follow_best(course, record, starts, progress, watch)
        if watch.received is not None:  # also when it came too late to cut anything short
            record.status, watch.heeded = Status.INTERRUPTED, True
        with precision.outside():
            found = result()
        warn_of_interpolation(found._ends)
        progress.end(found.status, _sentence(found, state))
        return found


def _end(record: Record, course: Course) -> End | None:
    """What a posterior is made of, where there is one."""
    if record.evidence is None or course.prior is None:
        return None
    return End(record.params, record.evidence, course.prior)


def _audience(
    listener: Listener | None, structure: Structure, dtype: DType, mesh: AbstractMesh | None
) -> Audience | None:
    if listener is None:
        return None
    return Audience(
        listener,
        lambda point: returned(structure, point, mesh),
        lambda tree: structure.flatten_concrete(in_dtype(tree, dtype), dtype),
    )


def _adam(steps: Any, every: Any, state: FitState | None) -> tuple[int, int] | None:
    """The steps of Adam, and the epochs between two rounds of them; None for no Adam."""
    steps = arguments.whole_number(steps, "warm_up", 0)
    if every is None:
        if steps and state is not None:
            raise ValueError(
                "warm_up: a fit that goes on is past its beginning; leave one of them out, or pass "
                "warm_up_every as well"
            )
        return (steps, 0) if steps else None
    if not steps:
        raise ValueError("warm_up_every: warm_up says how many steps of Adam; pass it as well")
    return steps, arguments.whole_number(every, "warm_up_every", 1)


def _of_adam(losses: list[float]) -> str:
    return f"{len(losses) - 1} steps of Adam: loss {losses[0]:.4g} to {min(losses):.4g}"


def _others(given: Sequence[Params], params: Params, state: FitState | None) -> list[Params]:
    """The further starts, each shaped as ``params``."""
    if not isinstance(given, (list, tuple)):
        raise TypeError(
            f"restarts: expected a list of pytrees like params, got {type(given).__name__}"
        )
    if given and state is not None:
        raise ValueError("restarts: a fit that goes on has its start; leave one of them out")
    wanted = jax.tree.structure(params), [np.shape(leaf) for leaf in jax.tree.leaves(params)]
    for number, one in enumerate(given):
        found = jax.tree.structure(one), [np.shape(leaf) for leaf in jax.tree.leaves(one)]
        if found != wanted:
            raise ValueError(
                f"restarts: number {number} is not structured and shaped as params: expected "
                f"{wanted[1]} in {wanted[0]}, got {found[1]} in {found[0]}"
            )
    return list(given)


def _first_kept(
    rules: Rules, validation: Any, offset: float, points: Sequence[Vector]
) -> Kept | None:
    """What is kept before the first epoch: of ``points``, the one of the least validation loss;
    None without validation data.
    """
    if validation is None:
        return None
    losses = [loss_of(validation, jnp.asarray(point)) + offset for point in points]
    kept = rules.start(points[0], losses[0])
    for point, loss in zip(points[1:], losses[1:], strict=True):
        kept = kept.after(point, np.asarray(loss, vectors.dtype(point)))
    return kept._replace(waited=np.zeros((), np.int32))


def _heard(
    skipped: int, replaced: Vector | None, flat: Vector, state: FitState | None
) -> tuple[int, Vector]:
    """How many epochs are left out, and where the fit begins, by what a listener says."""
    if state is not None and (skipped or replaced is not None):
        raise ValueError(
            "state: a callback has put in weights of its own before the first epoch; leave one of "
            "the two out"
        )
    return skipped, flat if replaced is None else replaced


def _sentence(found: FitResult, before: FitState | None) -> str:
    """Which epoch's parameters a fit returns."""
    if found.best_epoch is None and before is not None:
        return "Returned are the parameters of the earlier fit."
    if found.best_epoch is None:
        return "Returned are the initial parameters."
    numbers = ", ".join(
        f"{name} {values[found.best_epoch]:.4g}"
        for name, values in found.history.items()
        if name not in NOT_METRICS and len(values) == len(found.history["loss"])
    )
    if found._ends:
        numbers += f"; {found._ends[0].in_short()}"
    of = f" from start {found.best_start + 1} of {len(found.restarts)}" if found.restarts else ""
    return f"Returned are those of epoch {found.best_epoch + 1}{of} ({numbers})."


def _batches(
    batch_size: int | None,
    seed: int,
    shuffle: bool,
    steps_per_epoch: int | None,
    min_grad: float | None,
) -> Batches | None:
    """How the data are cut; None for steps on all rows."""
    if batch_size is None:
        if steps_per_epoch is not None:
            raise ValueError(
                "steps_per_epoch: without batch_size every epoch is one step on all rows; pass "
                "batch_size, or leave steps_per_epoch out"
            )
        return None
    if min_grad is not None:
        raise ValueError(
            "min_grad: batches know only their own gradients; leave it out, or batch_size"
        )
    return Batches(
        arguments.whole_number(batch_size, "batch_size", 1),
        arguments.whole_number(seed, "seed", 0),
        bool(shuffle),
        None
        if steps_per_epoch is None
        else arguments.whole_number(steps_per_epoch, "steps_per_epoch", 1),
    )
