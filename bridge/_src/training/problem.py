"""A converted model as a problem for :mod:`lmjax`: function, start, loss, penalties and
constraints.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax

from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import references
from bridge._src.description.regularizers import factors_of
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.renaming import to_numbers, without_names
from bridge._src.training.activity_loss import NEAR, WithActivity
from bridge._src.training.constraints import FeasibleWeights, feasible_weights
from bridge._src.training.outputs.combined_loss import CombinedLoss
from bridge._src.training.penalties import check_served, limits, penalties
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.named import find_loss
from lmjax._src.typing import ModelFn, Params, PyTree


class Problem(NamedTuple):
    """What is trained; layers have numbers in place of names, so that equal models share compiled
    functions.
    """

    function: ModelFn
    params: Params
    loss: Loss
    penalties: dict[str, PyTree]  #: as arguments of :func:`lmjax.fit`
    bounds: FeasibleWeights | None


def problem_of(model: FlaxModel, loss: str | Loss) -> Problem:
    """The problem of training ``model``.

    Args:
        model: the model; with a :class:`CombinedLoss` it returns a list of outputs.
        loss: of its output, or of the row of all.

    Raises:
        ConversionError: regularizers or constraints that cannot be served, all of them named.
    """
    check_served(model)
    module = model.module
    bare = without_names(module)
    outputs, in_rows = list(references(bare.outputs)), isinstance(loss, CombinedLoss)
    if len(outputs) == 1:  # without the list or the dictionary that it stands in
        bare = bare.clone(outputs=outputs[0])
    unnamed = dataclasses.replace(model, module=bare, state=to_numbers(model.state, module))
    start, allowed = to_numbers(model.params, module), limits(model)
    regularizers = model.graph.activity_regularizers().values()
    served, activity = find_loss(loss), [factors_of(given) for given in regularizers]
    function = unnamed.with_activity() if in_rows or activity else unnamed.pure()
    if activity:
        pure = unnamed.pure()
        shape = (loss.size,) if isinstance(loss, CombinedLoss) else _row_shape(model, pure, start)
        served, by_size = (
            WithActivity(served, shape),
            [each.l1 for each in activity if each and each.l1],
        )
        if by_size:
            (sizes,) = _row_shape(model, unnamed.with_activity(sizes_alone=True), start)
            served = dataclasses.replace(served, sizes=sizes, near=NEAR * min(by_size))
    return Problem(
        function,
        start,
        served,
        {name: to_numbers(factors, module) for name, factors in penalties(model).items()},
        None if allowed is None else feasible_weights(to_numbers(allowed, module), start),
    )


def _row_shape(model: FlaxModel, function: ModelFn, params: Params) -> tuple[int, ...]:
    """Of what ``function`` returns for one sample."""
    specs = model.module.inputs
    if any(size is None for spec in specs for size in spec.shape):
        raise ConversionError("activity regularizers need a model whose input sizes are all known")
    inputs = [
        jax.ShapeDtypeStruct((1, *spec.shape), "float32" if "float" in spec.dtype else "int32")
        for spec in specs
    ]
    output = jax.eval_shape(function, params, inputs[0] if len(inputs) == 1 else inputs)
    return tuple(output.shape[1:])
