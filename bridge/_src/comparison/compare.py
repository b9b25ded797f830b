"""``bridge.compare``: which method to train a live Keras model with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from jax.typing import DTypeLike

import lmjax
from bridge._src.comparison.comparison import Comparison
from bridge._src.comparison.runs import RATES, compare_runs
from bridge._src.conversion.convert import for_training
from bridge._src.training.data import held_out_data, split, training_data
from bridge._src.training.losses import as_losses, loss_of
from bridge._src.training.outputs.supervision import Supervision
from bridge._src.typing import KerasModel
from lmjax._src.training.data import Data
from lmjax._src.typing import PyTree


def compare(
    model: KerasModel,
    x: PyTree,
    y: PyTree = None,
    *,
    validation_data: Any = None,
    validation_split: float = 0.0,
    sample_weight: PyTree = None,
    seconds: float = 5.0,
    seeds: int = 3,
    rates: Sequence[float] = RATES,
    batch_size: int = 32,
    loss: Any = None,
    dtype: DTypeLike | None = None,
    solver: lmjax.LevenbergMarquardt | None = None,
    verbose: int = 1,
) -> Comparison:
    """Trains copies of a model by Levenberg-Marquardt, Adam and L-BFGS in the same seconds, and
    says which to use; the model itself stays as it is.

    All methods lower one loss, that of :func:`bridge.fit` with the penalties of the model's
    regularizers, as pure functions in JAX, in one precision, from the same starts: the weights that
    the model has, and new draws from its layers' initializers (or, where these draw nothing, its
    weights plus normal numbers of a tenth of their size; the result says which). A run is repeated
    until nothing is compiled while its clock runs. Levenberg-Marquardt and L-BFGS take steps on all
    rows, and have the validation loss of each step on their clocks; Adam takes steps on shuffled
    batches, with a rate that falls along half a cosine to zero, once for each of ``rates``, each
    with all of the seconds, and of these the rate with the least loss is compared; its losses are
    computed while its clock stands still.

    In all this takes about (2 + number of rates) · (seeds + 1) · seconds.

    Args:
        model: a live Keras 3 / ``tf.keras`` model.
        x: inputs (N, …) as for :func:`bridge.fit`, in memory.
        y: targets, one row for each of ``x``, as for :func:`bridge.fit`.
        validation_data: (x, y) or (x, y, sample_weight) to validate on, which then decides.
        validation_split: or the last fraction of the rows.
        sample_weight: as for :func:`bridge.fit`.
        seconds: for each run.
        seeds: how many starts.
        rates: learning rates for Adam.
        batch_size: rows in a batch of Adam's.
        loss: in place of the loss that the model was compiled with, as for :func:`bridge.fit`.
        dtype: "float32" or "float64" for the computation; by default as for :func:`bridge.fit`.
        solver: the options of Levenberg-Marquardt.
        verbose: 0 silent, 1 a line for each run.

    Returns:
        A :class:`Comparison`, which prints as a table with a sentence.

    Raises:
        ConversionError, ValueError, TypeError: as :func:`bridge.fit`; or the data are streamed.
        ImportError: Optax is missing; the message says how to install it.

    Sources: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015; D. C.
        Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization",
        Mathematical Programming 45, 1989; both by Optax.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential(
        ...     [keras.Input((1,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
        ... )
        >>> model.compile(loss="mse")
        >>> x = np.linspace(-1, 1, 100)[:, None]
        >>> found = lmjax.keras.compare(
        ...     model, x, np.sin(3 * x), seconds=0.2, seeds=1, rates=[1e-2], verbose=0
        ... )
        >>> [row["method"] for row in found.table]
        ['Levenberg-Marquardt', 'Adam', 'L-BFGS']
        >>> found.verdict.startswith("Use Levenberg-Marquardt: its training loss is")
        True
    """
    if isinstance(model, (str, os.PathLike)):
        raise TypeError(
            f"model: expected a live Keras model, got the path {str(model)!r}; load it first, or "
            "use `lmjax compare`"
        )
    converted = for_training(model, dtype)
    module = converted.module
    chosen = loss_of(model, module) if loss is None else as_losses(loss, module)
    supervision = Supervision(module, chosen)
    data: Data = training_data(x, y, sample_weight, supervision)
    held_out: Data | None = None
    if validation_data is not None:
        held_out = held_out_data(validation_data, supervision)
    elif validation_split:
        data, held_out, _ = split(data, validation_split)
    return compare_runs(
        converted,
        data,
        held_out,
        loss=chosen,
        seconds=seconds,
        seeds=seeds,
        rates=rates,
        batch_size=batch_size,
        solver=solver,
        say=print if verbose else None,
    )
