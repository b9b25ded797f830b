"""``bridge.fit``: convert, train by Levenberg-Marquardt, write back."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from jax.typing import DTypeLike

import lmjax
from bridge._src.conversion.convert import for_training
from bridge._src.conversion.to_keras import bring_home
from bridge._src.formats.compiled import warn_of_metrics
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.data import split, training_data
from bridge._src.training.data import validation_data as held_out_data
from bridge._src.training.losses import as_losses, loss_of
from bridge._src.training.outputs.supervision import Supervision
from bridge._src.training.train import train
from bridge._src.typing import KerasModel
from lmjax._src.runtime import interrupts
from lmjax._src.training.data import Data, Streamed
from lmjax._src.training.recording import Callback, attach
from lmjax._src.typing import PyTree


@dataclasses.dataclass(frozen=True)
class History:
    """What :func:`fit` did, with the attributes of the object that Keras' ``fit`` returns.

    Attributes:
        history: lists with one number an epoch: ``loss``, ``val_loss`` with validation data, and
            ``seconds`` since the start of the training. The losses are those after the epoch, as
            ``model.evaluate`` gives them.
        epoch: the epochs' indices.
        status: why the fit stopped.
        model: the Keras model, with the fitted weights.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> model = keras.Sequential(
        ...     [keras.Input((1,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
        ... )
        >>> model.compile(loss="mse")
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> history = lmjax.keras.fit(model, x, np.sin(3 * x), epochs=3, verbose=0)
        >>> sorted(history.history), history.epoch
        (['loss', 'seconds'], [0, 1, 2])
        >>> print(history.status)  # doctest: +ELLIPSIS
        MAX_STEPS: Stopped at the step limit before convergence; ...
    """

    history: dict[str, list[float]]
    epoch: list[int]
    status: lmjax.Status
    model: KerasModel


def fit(
    model: KerasModel,
    x: PyTree,
    y: PyTree = None,
    *,
    batch_size: int | None = None,
    epochs: int = 100,
    verbose: int | str = "auto",
    validation_split: float = 0.0,
    validation_data: tuple[PyTree, ...] | None = None,
    class_weight: dict[int, float] | None = None,
    sample_weight: PyTree = None,
    loss: Any = None,
    dtype: DTypeLike | None = None,
    solver: lmjax.LevenbergMarquardt | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    seed: int = 0,
) -> History:
    """Trains a live Keras model by Levenberg-Marquardt; arguments as those of Keras' ``fit``.

    The model is converted, trained as a pure function in JAX, and gets the fitted weights; it stays
    compiled as it was. Layers compute as at inference: dropout and noise are off, batch
    normalisation uses its moving statistics. If the fitted weights, rounded to the model's own
    precision, are no better than the initial ones, the model keeps those. Ctrl-C ends the training
    (as do SIGTERM and SIGHUP; see :func:`lmjax.fit`), and the best weights so far are written back.
    So they are when an exception ends it after the first epoch; that goes on with what was done
    until then as its attribute ``result``, a :class:`History`.

    Args:
        model: a live Keras 3 / ``tf.keras`` model, trained in place.
        x: inputs (N, …); a list or dictionary of arrays for several inputs. Memory maps and HDF5
            datasets are streamed. Without ``y`` a ``tf.data.Dataset``, a ``PyDataset`` or another
            collection of batches, as in :func:`lmjax.fit`.
        y: targets, one row for each of ``x``; for several outputs a list or dictionary of arrays,
            as the model returns its outputs, or by the names of their layers. One without a loss
            needs none.
        batch_size: rows in a batch, as in :func:`lmjax.fit`; None (unlike Keras) for one step on
            all rows.
        epochs: the most epochs; one epoch is one LM step on all rows, or one on each batch.
        verbose: 0 silent, 1 or "auto" a progress line in a terminal, 2 plain lines.
        validation_split: the last fraction of the rows is held out for ``val_loss``.
        validation_data: (x, y) or (x, y, sample_weight) for ``val_loss``.
        class_weight: weights by class index, for class indices or one-hot rows as targets; as in
            Keras for models with one output.
        sample_weight: (N,), or (N, T) for each step of sequences, at least 0. Steps under a mask of
            the output (``Masking``, ``Embedding(mask_zero=True)``) do not count, as in Keras; those
            that do are counted over all rows, of batches too. For several outputs one array for
            all, or a list or dictionary as of ``y``, whose entries may be None.
        loss: in place of the loss that the model was compiled with, and its ``loss_weights``: a
            name, a Keras loss or one of :mod:`lmjax.losses`; for several outputs one for all, or a
            list or dictionary, with None for an output without.
        dtype: "float32" or "float64" for the computation; by default float64 where the device does
            it well and every layer computes in it (those of :func:`bridge.run_in_keras` mostly do
            not).
        solver: the options of the solver.
        callbacks: functions of (epoch, logs), as in :func:`lmjax.fit`; one that returns something
            true ends the fit.
        seed: of the shuffling of batches.

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
    warn_of_metrics(model)
    converted = for_training(model, dtype)
    module = converted.module
    chosen = loss_of(model, module) if loss is None else as_losses(loss, module)
    supervision = Supervision(module, chosen, class_weight)
    data = training_data(x, y, sample_weight, supervision)
    held_out: Data | None = None
    if validation_split and (validation_data is None or isinstance(data, Streamed)):
        data, held_out = split(data, validation_split)
    if validation_data is not None:
        held_out = held_out_data(validation_data, supervision)
    with interrupts.watching() as watch:
        try:
            result = train(
                converted,
                data,
                held_out,
                loss=chosen,
                batch_size=batch_size,
                epochs=epochs,
                solver=solver,
                seed=seed,
                callbacks=callbacks,
                verbose=verbose,
            )
        except BaseException as error:
            _rescue(error, converted, model)
            raise
        try:
            history = _written_back(result, converted, model)
        except BaseException as error:
            attach(
                error,
                result,
                "bridge: what was trained is not lost; it is in `result.params` of this exception",
            )
            raise
        if watch.received is not None:
            history = dataclasses.replace(history, status=lmjax.Status.INTERRUPTED)
            watch.heeded = True
        return history


def _written_back(result: lmjax.FitResult, converted: FlaxModel, model: KerasModel) -> History:
    bring_home(converted, result.params, model)
    return History(result.history, list(range(len(result.history["loss"]))), result.status, model)


def _rescue(error: BaseException, converted: FlaxModel, model: KerasModel) -> None:
    """Gives the model what was trained before ``error``, if anything was."""
    result = getattr(error, "result", None)
    if not isinstance(result, lmjax.FitResult):
        return
    try:
        history = _written_back(result, converted, model)
    except Exception as failure:  # noqa: BLE001 - the first error is the one to be told
        error.add_note(
            f"bridge: the weights could not be written back ({failure}); they are in "
            "`result.params` of this exception"
        )
    else:
        attach(
            error,
            history,
            f"bridge: the model has the best weights of the {len(history.epoch)} epochs "
            "before this",
        )
