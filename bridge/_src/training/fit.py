"""``bridge.fit``: convert, train by Levenberg-Marquardt, write back."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

import lmjax
from bridge._src.conversion.convert import for_training
from bridge._src.conversion.to_keras import to_keras
from bridge._src.description.inputs import in_order
from bridge._src.description.weights import leaves, nest
from bridge._src.formats.compiled import warn_of_metrics
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.module.renaming import to_names, to_numbers
from bridge._src.training.entering import Entrance
from bridge._src.training.independent_rows import check_rows_apart
from bridge._src.training.losses import as_loss, loss_of
from bridge._src.training.masks import output_mask
from bridge._src.training.preparation import preparation_of
from bridge._src.training.problem import Problem, problem_of
from bridge._src.training.streams import model_source
from bridge._src.training.targets import as_targets, class_weights, of_one_output
from lmjax._src.arrays.numbers import real_array
from lmjax._src.runtime import interrupts
from lmjax._src.training.recording import attach


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
    """

    history: dict[str, list[float]]
    epoch: list[int]
    status: lmjax.Status
    model: Any


def fit(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    batch_size: int | None = None,
    epochs: int = 100,
    verbose: int | str = "auto",
    validation_split: float = 0.0,
    validation_data: tuple[Any, ...] | None = None,
    class_weight: dict[int, float] | None = None,
    sample_weight: Any = None,
    loss: Any = None,
    dtype: Any = None,
    solver: lmjax.LevenbergMarquardt | None = None,
    callbacks: Any = (),
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
        y: targets, one row for each of ``x``.
        batch_size: rows in a batch, as in :func:`lmjax.fit`; None (unlike Keras) for one step on
            all rows.
        epochs: the most epochs; one epoch is one LM step on all rows, or one on each batch.
        verbose: 0 silent, 1 or "auto" a progress line in a terminal, 2 plain lines.
        validation_split: the last fraction of the rows is held out for ``val_loss``.
        validation_data: (x, y) or (x, y, sample_weight) for ``val_loss``.
        class_weight: weights by class index, for class indices or one-hot rows as targets.
        sample_weight: (N,), or (N, T) for each step of sequences, at least 0. Steps under a mask of
            the output (``Masking``, ``Embedding(mask_zero=True)``) do not count, as in Keras; those
            that do are counted over all rows, of batches too.
        loss: in place of the loss that the model was compiled with: a name, a Keras loss or one of
            :mod:`lmjax.losses`.
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
            named.
        ValueError, TypeError: data or options that do not fit; nothing was changed then.
        BaseException: whatever the data or a callback raise, or a lack of memory; the model has the
            best weights so far.
    """
    if isinstance(model, (str, os.PathLike)):
        raise TypeError(
            f"model: expected a live Keras model, got the path {str(model)!r}; load it "
            "first, or train the file with `lmjax fit`"
        )
    warn_of_metrics(model)
    converted = for_training(model, dtype)
    module = converted.module
    chosen = loss_of(model, module) if loss is None else as_loss(loss, module)
    weigh = partial(class_weights, class_weight, chosen)
    data: tuple[Any, ...]
    source = model_source(x, y, sample_weight, module, weigh)
    if source is not None:
        if validation_split:
            raise ValueError(
                "validation_split: data that are streamed cannot be split; pass validation_data"
            )
        data = (source, None, None)
    else:
        arrays, targets = as_arrays(x), as_targets(y, module)
        weights = weigh(targets, of_one_output(sample_weight, module, "sample_weight"))
        if validation_data is None and validation_split:
            arrays, targets, weights, validation_data = split(
                arrays, targets, weights, validation_split
            )
        data = (in_order(arrays, module.inputs), targets, weights)
    if validation_data is not None:
        validation_data = _validation(validation_data, module, partial(class_weights, None, chosen))
    with interrupts.watching() as watch:
        try:
            result = train(
                converted,
                *data[:2],
                loss=chosen,
                sample_weight=data[2],
                validation_data=validation_data,
                batch_size=batch_size,
                epochs=epochs,
                solver=solver,
                seed=seed,
                callbacks=callbacks,
                verbose=verbose,
            )
        except BaseException as error:
            _bring_home(error, model)
            raise
        history = _written_back(result, model)
        if watch.received is not None:
            history, watch.heeded = (
                dataclasses.replace(history, status=lmjax.Status.INTERRUPTED),
                True,
            )
        return history


def _written_back(result: lmjax.FitResult, model: Any) -> History:
    to_keras(result.params, model)
    return History(result.history, list(range(len(result.history["loss"]))), result.status, model)


def _bring_home(error: BaseException, model: Any) -> None:
    """Gives the model what was trained before ``error``, if anything was."""
    result = getattr(error, "result", None)
    if not isinstance(result, lmjax.FitResult):
        return
    try:
        history = _written_back(result, model)
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


def train(converted: FlaxModel, x: Any, y: Any, **options: Any) -> lmjax.FitResult:
    """:func:`lmjax.fit` of a converted model with its regularizers; the params come rounded to
    Keras' own precision.

    They are the initial ones if rounding took away what the fit had gained. An exception carries
    the result until then as :func:`lmjax.fit` has it, with params of the same kind. Layers at the
    front that only sort data into categories are applied once, before the fit.

    Args:
        converted: the model.
        x: inputs; several in a list, in the model's order.
        y: targets.
        **options: as those of :func:`lmjax.fit`, ``loss`` being one of :mod:`lmjax.losses` or a
            name.
    """
    check_rows_apart(converted)
    validation, entrance = options.get("validation_data"), Entrance(converted)
    x = entrance.data(x, y, options.get("sample_weight"))
    if validation is not None:
        options["validation_data"] = validation = entrance.validation(validation)
    mask = output_mask(converted)
    if mask is not None:
        x, y, options["sample_weight"] = mask.data(x, y, options.get("sample_weight"))
        options["validation_data"] = validation = mask.validation(validation)
    prepared = (
        preparation_of(converted, (x, y, options.get("sample_weight")), validation)
        if _in_memory(validation)
        else None
    )
    if prepared is not None:
        converted, x = prepared.model, prepared(x)
        if validation is not None:
            options["validation_data"] = validation = (prepared(validation[0]), *validation[1:])
    problem = problem_of(converted, options.pop("loss"))
    try:
        result = lmjax.fit(
            problem.function,
            problem.params,
            x,
            y,
            loss=problem.loss,
            l2=problem.l2,
            bounds=problem.bounds,
            **options,
        )
    except BaseException as error:
        if isinstance(until_then := getattr(error, "result", None), lmjax.FitResult):
            error.result = _rounded_result(until_then, problem, converted)  # type: ignore[attr-defined]
        raise
    return _rounded_result(result, problem, converted)


def _rounded_result(
    result: lmjax.FitResult, problem: Problem, converted: FlaxModel
) -> lmjax.FitResult:
    """``result`` with params as :func:`train` returns them."""
    named = to_names(result.params, converted.module)
    rounded = _rounded(named, converted)
    # Where constraints moved the start, there is no going back to it.
    better = (
        problem.bounds is not None
        or _equal(rounded, named)
        or result.is_gain(to_numbers(rounded, converted.module))
    )
    return dataclasses.replace(result, params=rounded if better else converted.params)


def _equal(some: Any, others: Any) -> bool:
    return all(
        np.array_equal(one, other)
        for one, other in zip(jax.tree.leaves(some), jax.tree.leaves(others), strict=True)
    )


def _in_memory(validation: Any) -> bool:
    return validation is None or (
        isinstance(validation, (tuple, list)) and len(validation) in (2, 3)
    )


def as_arrays(x: Any) -> Any:
    """``x`` with everything that is not a container of inputs as an array (data frames, tensors,
    lists of numbers).
    """
    if isinstance(x, dict):
        return {name: np.asarray(real_array(part, f"x[{name!r}]")) for name, part in x.items()}
    if isinstance(x, (list, tuple)) and x and all(hasattr(part, "shape") for part in x):
        arrays = [
            np.asarray(real_array(part, f"x[{place}]" if len(x) > 1 else "x"))
            for place, part in enumerate(x)
        ]
        return arrays if len(arrays) > 1 else arrays[0]
    return np.asarray(real_array(x, "x"))


def split(x: Any, y: Any, weights: Any, fraction: float) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """All rows but the last ``fraction``, and those as validation data, as Keras splits.

    Raises:
        ValueError: the fraction leaves no rows on one side.
    """
    rows = len(y)
    kept = int(rows * (1 - fraction)) if 0 < fraction < 1 else 0
    if not 0 < kept < rows:
        raise ValueError(
            f"validation_split: {fraction!r} of {rows} rows leaves nothing to train or to "
            "validate on; expected a fraction between 0 and 1"
        )
    head, tail = (
        jax.tree.map(lambda leaf, rows=rows: leaf[rows], (x, y, weights))
        for rows in (slice(kept), slice(kept, None))
    )
    return (*head, tail if weights is not None else tail[:2])


def _validation(given: Any, module: KerasGraph, weigh: Callable[[Any, Any], Any]) -> Any:
    """Validation data for the converted model: (x, y[, sample_weight]) without names, or a
    source.
    """
    if not (isinstance(given, (tuple, list)) and len(given) in (2, 3)) or all(
        isinstance(part, tuple) for part in given
    ):
        return model_source(given, None, None, module, weigh, "validation_data")
    x, y, sample_weight = (*given, None)[:3]
    source = model_source(x, y, sample_weight, module, weigh, "validation x")
    if source is not None:
        return source
    weights = of_one_output(sample_weight, module, "validation sample_weight")
    return in_order(as_arrays(x), module.inputs), of_one_output(y, module, "validation y"), weights


def _rounded(params: Any, converted: FlaxModel) -> Any:
    """``params`` with every leaf rounded to the dtype in which Keras stores it, in the dtype that
    it had.
    """
    values = dict(leaves(params))
    return nest(
        {
            entry.path: np.asarray(values[entry.path], entry.dtype).astype(converted.dtype)
            for entry in converted.table.trainable
        }
    )
