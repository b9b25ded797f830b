"""``bridge.fit``: convert, train by Levenberg-Marquardt, write back."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from typing import Any

import jax
from jax.typing import DTypeLike

import lmjax
from bridge._src.conversion.convert import for_training
from bridge._src.formats.compiled import is_compiled, metrics_of
from bridge._src.training.batches import epochs_counted_from, first_batches
from bridge._src.training.data import Apart, sets_of
from bridge._src.training.following.callbacks import callback_list, follows_batches, shows_progress
from bridge._src.training.following.continuation import TrainingState, to_go_on
from bridge._src.training.following.evaluation import Evaluation, check_names
from bridge._src.training.following.held_back import HeldBack, tell
from bridge._src.training.following.history import history_for
from bridge._src.training.following.home import Home
from bridge._src.training.following.homecoming import Homecoming
from bridge._src.training.following.listener import KerasListener
from bridge._src.training.losses import as_losses, loss_of
from bridge._src.training.outputs.structure import outputs_of
from bridge._src.training.outputs.supervision import Supervision
from bridge._src.training.standardization.request import request_of
from bridge._src.training.train import train
from bridge._src.typing import KerasModel
from lmjax._src.arrays import arguments
from lmjax._src.runtime import interrupts
from lmjax._src.training.data import Data, Streamed
from lmjax._src.training.following.recording import attach
from lmjax._src.typing import PyTree

#: Rows in Keras' own batches, where none are asked for.
_KERAS_ROWS = 32
#: Arguments of Keras 2 alone.
_OF_READING = ("max_queue_size", "workers", "use_multiprocessing")


def fit(
    model: KerasModel,
    x: PyTree = None,
    y: PyTree = None,
    batch_size: int | None = None,
    epochs: int = 100,
    verbose: int | str = "auto",
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    class_weight: dict[int, float] | None = None,
    sample_weight: PyTree = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: int | Collection[int] = 1,
    *,
    loss: Any = None,
    test_split: float = 0.0,
    test_data: Any = None,
    restore: str | None = None,
    patience: int | None = None,
    goal: float | None = None,
    max_seconds: float | None = None,
    min_grad: float | None = None,
    metrics_every: int = 1,
    standardize: bool | str | Mapping[str, str] | None = None,
    dtype: DTypeLike | None = None,
    solver: lmjax.LevenbergMarquardt | None = None,
    seed: int = 0,
    state: TrainingState | None = None,
    warm_up: int = 0,
    warm_up_every: int | None = None,
    restarts: int = 1,
    regularization: str | lmjax.Bayesian | None = None,
    **others: Any,
) -> Any:
    """Trains a live Keras model by Levenberg-Marquardt; arguments as those of Keras' ``fit``.

    The model is converted, trained as a pure function in JAX, and gets the fitted weights; it stays
    compiled as it was. Layers compute as at inference: dropout and noise are off, batch
    normalisation uses its moving statistics. If the fitted weights, rounded to the model's own
    precision, are no better than the initial ones, the model keeps those. Ctrl-C ends the training
    (as do SIGTERM and SIGHUP; see :func:`lmjax.fit`), and the best weights so far are written back.
    So they are when an exception ends it after the first epoch; that goes on with what was done
    until then as its attribute ``result``, a :class:`History`.

    With validation data the model gets the weights of the epoch with the least ``val_loss``, the
    initial ones among them.

    Keras' callbacks are driven as Keras drives them: the model has the current weights before each
    call, and weights that a callback puts in are those from where the fit goes on, or which it
    leaves in the model at its end. Callbacks that only change a learning rate are refused. The
    metrics of ``compile`` are computed by ``model.evaluate`` after each epoch.

    Args:
        model: a live Keras 3 / ``tf.keras`` model, trained in place.
        x: inputs (N, …); a list or dictionary of arrays for several inputs. Memory maps and HDF5
            datasets are streamed. Without ``y`` a ``tf.data.Dataset``, a ``PyDataset`` or another
            collection of batches, as in :func:`lmjax.fit`, or with ``steps_per_epoch`` a generator,
            whose first batches are kept in memory.
        y: targets, one row for each of ``x``; for several outputs a list or dictionary of arrays,
            as the model returns its outputs, or by the names of their layers. One without a loss
            needs none.
        batch_size: rows in a batch, as in :func:`lmjax.fit`; None (unlike Keras) for one step on
            all rows.
        epochs: the number of the epoch at which to end (unlike Keras' 1); one epoch is one LM step
            on all rows, or one on each batch.
        verbose: 0 silent; 1 or "auto" one live line in a terminal or a notebook, and elsewhere a
            plain line now and then; 2 a line for each epoch. See :func:`lmjax.fit`.
        callbacks: Keras' callbacks, functions of (epoch, logs), or a list of them. A function that
            returns something true ends the fit.
        validation_split: the last fraction of the rows is held out for validation.
        validation_data: (x, y), (x, y, sample_weight) or batches to validate on.
        shuffle: whether rows in memory are shuffled for each epoch of batches.
        class_weight: weights by class index, for class indices or one-hot rows as targets; as in
            Keras for models with one output.
        sample_weight: (N,), or (N, T) for each step of sequences, at least 0. Steps under a mask of
            the output (``Masking``, ``Embedding(mask_zero=True)``) do not count, as in Keras; those
            that do are counted over all rows, of batches too. For several outputs one array for
            all, or a list or dictionary as of ``y``, whose entries may be None.
        initial_epoch: the number of the first epoch.
        steps_per_epoch: how many batches make an epoch: with ``batch_size`` of the shuffled rows,
            else the first ones of the collection, which may have no end.
        validation_steps: likewise of the validation data: the first batches, of arrays of
            ``validation_batch_size`` rows.
        validation_batch_size: rows in a batch for metrics; it changes no number.
        validation_freq: the validation data are looked at after every so many epochs, or after
            those of the numbers (from 1) in a collection.
        loss: in place of the loss that the model was compiled with, and its ``loss_weights``: a
            name, a Keras loss or one of :mod:`lmjax.losses`; for several outputs one for all, or a
            list or dictionary, with None for an output without.
        test_split: the last fraction of the rows is neither trained on nor chosen by: its loss and
            metrics are computed for the weights that the model gets, once, as ``history.test``
            (``divideFcn`` of MATLAB). A ``validation_split``, a fraction of all rows, too, lies
            before it.
        test_data: in place of that, like ``validation_data``.
        restore: whose weights the model gets: those of the least "validation" loss (the default
            with validation data), of the least "training" loss, or of the "last" epoch.
        patience: the fit ends when so many validation losses in a row were not below the least one
            (``max_fail`` of MATLAB's ``trainlm``, which has 6).
        goal: the fit ends when the loss is at most this.
        max_seconds: the fit ends with the first epoch that is done after so many seconds,
            compilation included.
        min_grad: the fit ends when the norm of the loss' gradient, before the step of an epoch, was
            at most this (MATLAB's ``min_grad``). Not with ``batch_size``.
        metrics_every: the metrics of ``compile`` are computed after every so many epochs.
        standardize: "inputs", "targets" or "both" (or True): the weights are trained as those of a
            network that takes and gives numbers of zero mean and unit variance, column by column,
            as Keras' initial weights suppose, and folded into weights that take and give the data
            as they are, exactly; all numbers that are reported are of these. ``{"inputs": "range",
            "targets": "mean"}`` says how: "range" is from -1 to 1. The columns of the inputs are
            those of what enters the first layers with weights. A layer into which nothing can be
            folded is refused by name. The model's weights are the start, read as weights of that
            network, or just as they are where the model already predicts better so, and better
            than constants.
        dtype: "float32" or "float64" for the computation; by default float64 where the device does
            it well and every layer computes in it (those of :func:`bridge.run_in_keras` mostly do
            not).
        solver: the options of the solver.
        seed: of the shuffling of batches, and of the draws of ``restarts``.
        state: of an earlier fit of this model on the same data (``history.state``), to go on as if
            it had not ended: see :func:`lmjax.fit`. ``epochs`` counts from ``initial_epoch``, as
            ever, so that five more are ``epochs=5``, or ``initial_epoch=5, epochs=10``. Refused
            where the model has other weights by now, and where a callback puts in some.
        warm_up: so many steps of Adam on all rows before the first epoch, as in :func:`lmjax.fit`;
            ``history.warm_up`` has their losses.
        warm_up_every: another ``warm_up`` steps follow after every so many epochs.
        restarts: the number of starts: the model's own weights, and draws from its layers'
            initializers, which ``seed`` decides. The best counts, by the loss that ``restore``
            names, and ``history.restarts`` tells of all; see :func:`lmjax.fit`. Callbacks and
            metrics follow the best one alone, which is trained once more for them. Where no
            initializer draws anything, the others are the model's weights with a tenth of noise.
        regularization: "bayesian" or an :class:`lmjax.Bayesian`: squares of the weights, whose
            factors and the noise follow from the data; see :func:`lmjax.fit`.
            ``history.posterior`` then says how sure predictions are, in the units of the data.
            Beside it goes ``standardize``, and no regularizers or constraints of layers. Groups of
            an :class:`lmjax.Bayesian` go by the names of layers and weights, ``{"dense": {"kernel":
            groups, "bias": 2}, "dense_1": 3}``.
        **others: arguments of Keras 2 for reading data in other processes, which are refused.

    Returns:
        A :class:`History`.

    Raises:
        ConversionError: layers, regularizers or constraints that cannot be served, all of them
            named; or a callback has changed the model's layers, and the :class:`lmjax.FitResult` in
            the exception's ``result`` has the weights.
        ValueError, TypeError: data or options that do not fit; nothing was changed then.
        BaseException: whatever the data or a callback raise, or a lack of memory; the model has the
            best weights so far.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential(
        ...     [keras.Input((1,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
        ... )
        >>> model.compile(loss="mse")
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> history = lmjax.keras.fit(model, x, np.sin(3 * x), epochs=40, verbose=0)
        >>> history.history["loss"][-1] < 1e-3, history.model is model
        (True, True)
    """
    if isinstance(model, (str, os.PathLike)):
        raise TypeError(
            f"model: expected a live Keras model, got the path {str(model)!r}; load it "
            "first, or train the file with `lmjax fit`"
        )
    _check_others(others)
    first = arguments.whole_number(initial_epoch, "initial_epoch", 0)
    last = arguments.whole_number(epochs, "epochs", 1)
    if last <= first:
        raise ValueError(
            f"epochs: {last} is the number of the epoch at which to end, and initial_epoch, from "
            f"which it counts, is {first}; pass epochs={first + last} for {last} more"
        )
    asked, restarts = request_of(standardize), arguments.whole_number(restarts, "restarts", 1)
    seed = arguments.whole_number(seed, "seed", 0)
    sizes = {"batch_size": batch_size, "validation_batch_size": validation_batch_size}
    for name, size in sizes.items():
        if size is not None:
            arguments.whole_number(size, name, 1)
    rows = validation_batch_size or batch_size
    x, steps_per_epoch = _epoch_of(x, y, steps_per_epoch)
    validation_data = _validation_of(validation_data, validation_steps, rows)
    converted = for_training(model, dtype)
    module = converted.module
    chosen = loss_of(model, module) if loss is None else as_losses(loss, module)
    supervision = Supervision(module, chosen, class_weight)
    apart = Apart(validation_split, validation_data, test_split, test_data)
    data, held_out, tested = sets_of(x, y, sample_weight, supervision, apart)
    before = to_go_on(state, converted, asked)
    history = history_for(model)
    steps = _steps(data, batch_size, steps_per_epoch)
    params = {"verbose": verbose, "epochs": last, "steps": steps}
    evaluation, metrics = None, metrics_of(model)
    if metrics or (len(outputs_of(module)) > 1 and is_compiled(model)):
        every = arguments.whole_number(metrics_every, "metrics_every", 1)
        check_names(metrics)
        evaluation = Evaluation(model, supervision, data, held_out, rows, every)
    held_back = None if tested is None else HeldBack(converted, chosen, tested, evaluation)
    said = verbose
    listener: KerasListener | None = None
    if (callbacks is not None and callbacks != []) or evaluation is not None:
        called = callback_list(callbacks, model, history, params)
        home, by_batch = Home(converted, model), follows_batches(called, model)
        listener = KerasListener(model, called, home, evaluation, first, by_batch)
        verbose = 0 if shows_progress(called, model) else verbose
    with interrupts.watching() as watch:
        homecoming = Homecoming(converted, model, history, params, first, listener, asked)
        try:
            result = train(
                converted,
                data,
                held_out,
                loss=chosen,
                standardize=asked,
                batch_size=batch_size,
                epochs=last - first,
                solver=solver,
                seed=seed,
                callbacks=listener or (),
                verbose=verbose,
                restore=restore,
                patience=patience,
                goal=goal,
                max_seconds=max_seconds,
                min_grad=min_grad,
                shuffle=shuffle,
                steps_per_epoch=steps_per_epoch,
                # An earlier fit has counted those before.
                validation_freq=validation_freq
                if before is not None
                else epochs_counted_from(validation_freq, first, last),
                state=before,
                warm_up=warm_up,
                warm_up_every=warm_up_every,
                restarts=restarts,
                regularization=regularization,
            )
        except BaseException as error:
            homecoming.rescue(error)
            raise
        try:
            homecoming.write(result)
        except BaseException as error:
            attach(
                error,
                result,
                "bridge: what was trained is not lost; it is in `result.params` of this exception",
            )
            raise
        homecoming.tell(result)
        if held_back is not None:
            homecoming.test(held_back, result)
        if history.test and said:
            tell(history.test)
        if watch.received is not None:
            history.status = lmjax.Status.INTERRUPTED
            watch.heeded = True
        return history


def _steps(data: Data, batch_size: int | None, most: int | None) -> int | None:
    """Steps in an epoch, as Keras' progress bar counts them; None where nobody knows."""
    if batch_size is None:
        return 1
    if isinstance(data, Streamed):
        return most
    count = math.ceil(len(jax.tree.leaves(data.y)[0]) / batch_size)
    return count if most is None else min(count, most)


def _epoch_of(x: PyTree, y: PyTree, steps: int | None) -> tuple[PyTree, int | None]:
    """The data of an epoch, and the number of batches that they are still to be cut to."""
    if y is None and not hasattr(x, "shape"):
        return first_batches(x, steps, "steps_per_epoch"), None
    return x, steps


def _validation_of(given: Any, steps: int | None, rows: int | None) -> Any:
    """The validation data, cut to the first ``steps`` batches, of arrays of so many ``rows``."""
    if given is None:
        if steps is not None:
            raise ValueError("validation_steps: there are no validation_data to take them from")
        return None
    is_arrays = isinstance(given, (tuple, list)) and not all(
        isinstance(part, tuple) for part in given
    )
    if not is_arrays:
        return first_batches(given, steps, "validation_steps")
    if steps is None:
        return given
    count = arguments.whole_number(steps, "validation_steps", 1) * (rows or _KERAS_ROWS)
    return jax.tree.map(lambda leaf: leaf[:count], tuple(given))


def _check_others(others: dict[str, Any]) -> None:
    for name in others:
        reason = (
            "it says how Keras 2 reads data in other processes or threads; here they are read in "
            "this one, so leave it out"
            if name in _OF_READING
            else "there is no such argument"
        )
        raise TypeError(f"fit() got an unexpected keyword argument {name!r}: {reason}")
