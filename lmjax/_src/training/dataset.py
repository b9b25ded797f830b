"""Checking the rows of data that a fit is given, and laying them out for the objective."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.foreign import is_sparse
from lmjax._src.arrays.numbers import each, numbers, quantities, real_array
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.over_all import OverAll
from lmjax._src.objectives.losses.step_weights import laid_out
from lmjax._src.objectives.rows import Rows
from lmjax._src.runtime.explanations import explain
from lmjax._src.training.separate_rows import check_separate
from lmjax._src.typing import Array, DType, ModelFn, Params, PyTree


def make_rows(
    model: ModelFn,
    params: Params,
    loss: Loss,
    x: PyTree,
    y: PyTree,
    sample_weight: PyTree,
    dtype: DType,
    names: tuple[str, str, str],
) -> Rows:
    """``x``, ``y`` and ``sample_weight`` as :class:`Rows` in ``dtype``, with one row each for every
    sample.

    Targets get the shape that the loss needs for the model's outputs; only axes of length one are
    added or removed for that, so that targets (N,) never broadcast against outputs (N, 1).

    Raises:
        TypeError: a part is not numeric.
        ValueError: a part is empty, not finite, of another length or shape than the others, or out
            of the loss' domain.
    """
    rows = check_rows(
        x, y, sample_weight, loss, partial(row_shape_of, model, params, name=names[0]), dtype, names
    )
    if not len(rows.targets):
        raise ValueError(f"{names[0]} and {names[1]}: there are no rows of data")
    if rows.weights is not None and not (rows.weights > 0).any():
        raise ValueError(f"{names[2]}: all weights are zero, so there is nothing to fit")
    return rows


def check_rows(
    x: PyTree,
    y: PyTree,
    sample_weight: PyTree,
    loss: Loss,
    row_shape: tuple[int, ...] | Callable[[PyTree], tuple[int, ...]],
    dtype: DType,
    names: tuple[str, str, str],
    first_row: int = 0,
    over_all: OverAll | None = None,
) -> Rows:
    """As :func:`make_rows` for some rows of the data, perhaps none.

    Args:
        x: inputs.
        y: targets.
        sample_weight: weights or None.
        loss: the loss.
        row_shape: the shape of the model's outputs for one row, or a function of the inputs that
            tells.
        dtype: of floating-point data.
        names: what the three are called in messages.
        first_row: the number of the first row in all of the data, for messages.
        over_all: what is known of the weights of all rows; by default these are all.
    """
    x_name, y_name, weight_name = names
    inputs = each(x, x_name, lambda leaf, name: numbers(leaf, name, dtype), is_sparse)
    targets = real_array(y, y_name)
    if not jax.tree.leaves(inputs):
        raise ValueError(f"{x_name}: there are no arrays in it")
    num_rows = common_length({x_name: inputs, y_name: targets})
    if num_rows == 0:
        return Rows(
            inputs,
            _entering(targets, loss, y_name, dtype),
            None if sample_weight is None else np.ones(0, dtype),
        )
    outputs = (num_rows, *(row_shape(inputs) if callable(row_shape) else row_shape))
    for leaf in jax.tree.leaves(inputs):
        _check_finite(leaf, x_name, first_row)
    targets = checked_targets(targets, loss, outputs, y_name, first_row)
    given = None if sample_weight is None else _weights(sample_weight, weight_name, dtype)
    over_all = OverAll(loss) if over_all is None else over_all
    given = over_all.weights(targets, given, outputs, weight_name)
    weights = None if given is None else laid_out(given.astype(dtype), loss, outputs, weight_name)
    return Rows(inputs, _entering(targets, loss, y_name, dtype), weights)


def checked_targets(
    targets: Array, loss: Loss, outputs: tuple[int, ...], name: str, first_row: int = 0
) -> Array:
    """``targets``, an array of real numbers, in the shape that ``loss`` needs for ``outputs``.

    Raises:
        ValueError: they have another shape, are not finite, or out of the loss' domain.
    """
    targets = _fit_shape(targets, loss.target_shape(outputs), outputs, name)
    _check_finite(targets, name, first_row)
    _check_domain(loss, targets, outputs, name, first_row)
    return targets


def _entering(targets: PyTree, loss: Loss, name: str, dtype: DType) -> Array:
    """Checked targets in the dtype of the fit; a loss of the caller's own gets integers as such,
    which may name classes.
    """
    return (quantities if loss.takes_quantities else numbers)(targets, name, dtype)


def _check_domain(
    loss: Loss, targets: PyTree, outputs: tuple[int, ...], name: str, first_row: int
) -> None:
    try:
        loss.prepare(np.asarray(targets), outputs)
    except ValueError as error:  # a loss sees some rows, which it calls y
        where = f" (rows counted from row {first_row})" if first_row else ""
        raise ValueError(f"{name}{str(error).removeprefix('y')}{where}") from None


def common_length(parts: dict[str, PyTree]) -> int:
    """The length of the first axis, which all arrays in ``parts`` (name to pytree) must share."""
    for name, part in parts.items():
        if any(leaf.ndim == 0 for leaf in jax.tree.leaves(part)):
            raise ValueError(
                f"{name}: expected an array with one row for each sample, got a single number"
            )
    lengths: dict[str, set[int]] = {
        name: {leaf.shape[0] for leaf in jax.tree.leaves(part)} for name, part in parts.items()
    }
    distinct = set[int]().union(*lengths.values())
    if len(distinct) != 1:
        described = ", ".join(
            f"{name} has {' and '.join(map(str, sorted(found)))}" for name, found in lengths.items()
        )
        raise ValueError(f"x and y must have the same number of rows: {described}")
    (length,) = distinct
    return length


def row_shape_of(model: ModelFn, params: Params, inputs: PyTree, name: str) -> tuple[int, ...]:
    """The shape of the model's outputs for one row of ``inputs`` (arrays of numbers), which are
    called ``name``.

    Raises:
        ValueError: there is not one row of outputs for each row of inputs, made of that alone.
        TypeError: JAX cannot trace the model; the message says what to write.
    """
    try:
        # JAX keeps what it traced for as long as the function lives: see Recent.
        outputs = jax.eval_shape(partial(model), params, inputs)
    except Exception as error:
        explain(error, "model_fn", takes_jac=False)
        raise
    leaves = jax.tree.leaves(outputs)
    if len(leaves) != 1:
        raise ValueError(
            f"model_fn: expected one array of outputs, got {len(leaves)}; "
            "combine several outputs in a residual function and use least_squares"
        )
    shape, num_rows = tuple(leaves[0].shape), jax.tree.leaves(inputs)[0].shape[0]
    if not shape or shape[0] != num_rows:
        raise ValueError(
            f"model_fn: its outputs have shape {shape} for {num_rows} rows of {name}; "
            "expected one row of outputs for each row of inputs"
        )
    check_separate(model, params, inputs, name)
    return shape[1:]


def _fit_shape(
    targets: PyTree, wanted: tuple[int, ...], outputs: tuple[int, ...], name: str
) -> Array:
    if targets.shape == wanted:
        return targets
    if targets.shape == (*wanted, 1) or (*targets.shape, 1) == wanted:
        return targets.reshape(wanted)
    raise ValueError(
        f"{name}: expected shape {wanted} for this loss and the model's outputs of shape "
        f"{outputs}, got {tuple(targets.shape)}"
    )


def _check_finite(array: Array, name: str, first_row: int) -> None:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):  # one pass, without a mask as large as the data
            return
    bad = ~np.isfinite(np.asarray(array)).reshape(array.shape[0], -1).all(axis=1)
    if bad.any():
        which = (
            f"{int(bad.sum())} of {array.shape[0]} rows hold NaN or infinity (the first is "
            f"row {first_row + int(bad.argmax())})"
        )
        raise ValueError(f"{name}: {which}; remove or fill them")


def _weights(sample_weight: PyTree, name: str, dtype: DType) -> Array:
    weights = np.asarray(quantities(sample_weight, name, dtype))
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"{name}: weights must be finite and at least 0")
    return weights
