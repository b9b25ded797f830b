"""The maps of a fit's data, tried before anything is trained, and the weights to begin with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import jax
import numpy as np

from bridge._src.description.graph import TensorRef
from bridge._src.description.inputs import prepare
from bridge._src.description.weights import leaves, merge, nest
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.module.renaming import to_numbers, without_names
from bridge._src.training.following.mean_loss import mean_loss
from bridge._src.training.outputs.losses import OutputLosses
from bridge._src.training.outputs.structure import outputs_of
from bridge._src.training.standardization.folding import Folding
from bridge._src.training.standardization.moments import AffineMap, Moments
from bridge._src.training.standardization.places import (
    Place,
    last_call,
    places_of_inputs,
    places_of_targets,
)
from bridge._src.training.standardization.request import Request
from bridge._src.training.standardization.sites import NoFoldError, last_site
from lmjax._src.objectives.losses.absolute import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
)
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.mean_squared_error import (
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)
from lmjax._src.objectives.losses.named import find_loss
from lmjax._src.objectives.losses.wrapped import Reduced
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.precision import scope
from lmjax._src.training.data import Data, Streamed
from lmjax._src.typing import Array, NumpyArray, Params, PyTree

#: Losses whose targets are real numbers in the units of the outputs.
_OF_NUMBERS = (
    MeanSquaredError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    Huber,
    LogCosh,
)
#: Rows whose inputs are looked at at once.
_ROWS = 4096
#: Rows on which a fold is tried.
_TRIED = 64
#: Outputs before and after a fold differ by rounding where this part of their spread is not
#: exceeded: by that of float64, and where layers compute in single precision.
_ROUNDING, _ROUNDING_OF_SINGLE = 1e-6, 1e-2
#: A model whose loss is below this part of that of the best constant outputs has been trained.
_TRAINED = 0.99


def folding_of(
    model: FlaxModel, data: Data, loss: str | Loss | OutputLosses, request: Request
) -> Folding:
    """The maps of the training data; one pass over those that are streamed. Rows count alike,
    whatever their weights, but for steps under a mask, which do not.

    Raises:
        ValueError: there is no exact fold, or the data have no moments; the message names the
            layer, or the columns.
    """
    outputs = _outputs(model, loss)
    first = places_of_inputs(model) if request.inputs else []
    if request.targets:
        for name, _, one in outputs:
            _check_loss(name, one)
    last = (
        places_of_targets(model, [(name, ref) for name, ref, _ in outputs])
        if request.targets
        else []
    )
    of_inputs, of_targets = [Moments() for _ in first], [Moments() for _ in last]
    columns = [_columns(model, place) for place in last]
    seen = model.module.clone(outputs=tuple(place.tensor for place in first))
    weights = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64) if leaf.dtype.kind == "f" else leaf,
        merge(model.params, model.state),
    )
    for x, y in _blocks(data):
        if first:
            for moments, rows in zip(of_inputs, _entering(seen, weights, x), strict=True):
                moments.add(rows)
        targets = y if isinstance(loss, OutputLosses) else [y]
        for moments, part, width, place in zip(
            of_targets, targets if last else [], columns, last, strict=True
        ):
            moments.add(_rows_of(part, width, place, data.names[1]))
    folding = Folding(
        model,
        tuple(
            (place, _checked(moments.affine(str(request.inputs), _called(place)), place))
            for place, moments in zip(first, of_inputs, strict=True)
        ),
        tuple(
            (place, _checked(moments.affine(str(request.targets), data.names[1]), place))
            for place, moments in zip(last, of_targets, strict=True)
        ),
    )
    _try(folding, data)
    return folding


def _called(place: Place) -> str:
    return f"the inputs of layer {place.layer!r}"


def _outputs(
    model: FlaxModel, loss: str | Loss | OutputLosses
) -> list[tuple[str, TensorRef, str | Loss]]:
    if isinstance(loss, OutputLosses):
        return [(part.output.name, part.output.ref, part.loss) for part in loss.parts]
    (output,) = outputs_of(model.module)
    return [(output.name, output.ref, loss)]


def _is_of_numbers(loss: str | Loss) -> bool:
    found = find_loss(loss)
    return isinstance(found.loss if isinstance(found, Reduced) else found, _OF_NUMBERS)


def _check_loss(output: str, loss: str | Loss) -> None:
    if not _is_of_numbers(loss):
        raise ValueError(
            f"standardize: the loss {type(find_loss(loss)).__name__} of output {output!r} is not "
            "known to compare outputs with targets in the same units, so that its targets cannot "
            'be standardised; ask for "inputs" alone'
        )


def _columns(model: FlaxModel, place: Place) -> int:
    """How many outputs a call has along its last axis."""
    (site,) = place.sites
    shape = next(entry.shape for entry in model.table if entry.path == site.kernel)
    return shape[site.axis]


def _rows_of(targets: Array, width: int, place: Place, name: str) -> NumpyArray:
    array = np.asarray(targets)
    if math.prod(array.shape[1:]) % width:
        raise ValueError(
            f"standardize: {name} of shape {array.shape} has no column for each of the {width} "
            f"outputs of layer {place.layer!r}"
        )
    return array.reshape(-1, width)


def _checked(of: AffineMap, place: Place) -> AffineMap:
    """Raises where a shift of the inputs has no place; outputs are shifted by any bias."""
    for site in place.sites:
        try:
            site.check_shift(of)
        except NoFoldError as reason:
            raise ValueError(
                f"standardize: layer {place.layer!r} {reason}; put a keras.layers.Normalization "
                "in front of the model and adapt it, or standardise the data yourself"
            ) from None
    return of


def _blocks(data: Data) -> Iterator[tuple[PyTree, PyTree]]:
    if isinstance(data, Streamed):
        for x, y, _ in data.source.pieces():
            yield x, y
        return
    rows = len(jax.tree.leaves(data.y)[0])
    for start in range(0, rows, _ROWS):
        chosen = slice(start, start + _ROWS)
        yield jax.tree.map(lambda leaf: np.asarray(leaf[chosen]), (data.x, data.y))  # noqa: B023 - used at once


def _entering(module: KerasGraph, weights: Params, x: PyTree) -> Iterator[NumpyArray]:
    """The tensors that ``module`` returns, as rows of columns, without the steps under a mask."""
    with scope("float64"):
        tensors, masks = _seen(
            without_names(module),
            to_numbers(weights, module),
            prepare(x, module.inputs, np.dtype("float64")),
        )
    for tensor, mask in zip(tensors, masks, strict=True):
        array = np.asarray(tensor, np.float64)
        if mask is not None:
            array = array[np.asarray(mask, bool)]
        yield array.reshape(-1, array.shape[-1])


@recent(static_argnums=(0,))
def _seen(module: KerasGraph, weights: Params, inputs: PyTree) -> PyTree:
    """What nothing of this depends on is left out by the compiler."""
    return module.apply({"params": weights}, inputs, method="run")


def _try(folding: Folding, data: Data) -> None:
    """Checks on some rows of the data, with weights drawn at random, that the folded model is the
    standardised one.
    """
    draw = np.random.default_rng(0)
    params = nest(
        {
            path: draw.standard_normal(leaf.shape) / math.sqrt(max(math.prod(leaf.shape[:-1]), 1))
            for path, leaf in leaves(folding.raw.params)
        }
    )
    x = jax.tree.map(lambda leaf: np.asarray(leaf[:_TRIED]), next(_blocks(data))[0])
    pairs = zip(
        _outputs_of(folding.raw, folding.fold(params), x),
        _outputs_of(folding.model(params), params, x),
        strict=True,
    )
    part = _ROUNDING_OF_SINGLE if folding.raw.module.rounds_to_single() else _ROUNDING
    for folded, wanted in pairs:
        apart = np.max(np.abs(np.asarray(folded) - np.asarray(wanted)), initial=0.0)
        spread = np.max(np.abs(wanted - np.mean(wanted, axis=0)), initial=0.0)
        if not apart <= part * spread + 1e-12 * np.max(np.abs(wanted), initial=0.0):
            raise ValueError(
                f"standardize: after the fold outputs differ by {apart:.3g}, of a spread of "
                f"{spread:.3g}, since the means of the data are too large beside their spread; "
                "subtract a constant from them before the model"
            )


def _outputs_of(model: FlaxModel, params: Params, x: PyTree) -> list[Array]:
    """By a program that models with other names share."""
    module = model.module
    unnamed = dataclasses.replace(
        model, module=without_names(module), state=to_numbers(model.state, module)
    )
    return jax.tree.leaves(unnamed.apply(to_numbers(params, module), x))


@dataclasses.dataclass(frozen=True)
class Beginning:
    """Where a standardised fit begins.

    Attributes:
        params: the weights, for standardised numbers.
        bound: the loss of the model as it came, where that is below the loss of these; then a fit
            that does not fall below it leaves the model alone.
    """

    params: Params
    bound: float | None


def beginning_of(folding: Folding, data: Data, loss: str | Loss | OutputLosses) -> Beginning:
    """The model's weights read as weights for standardised numbers; or, where the model is better
    as it is, and better than any constant (so that somebody has trained it), just as it is.

    Args:
        folding: of the model.
        data: by which the weights of a fit are chosen.
        loss: of the raw model.
    """
    raw = folding.raw

    def loss_at(params: Params) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return mean_loss(dataclasses.replace(raw, params=params), loss, data)

    as_it_is, read_anew = loss_at(raw.params), loss_at(folding.fold(raw.params))
    if not as_it_is < read_anew:
        return Beginning(raw.params, None)
    constant = _constant(folding, data, loss)
    if constant is None or as_it_is < _TRAINED * loss_at(constant):
        return Beginning(folding.unfold(raw.params), None)
    return Beginning(raw.params, as_it_is)


def _constant(folding: Folding, data: Data, loss: str | Loss | OutputLosses) -> Params | None:
    """The model's weights but for zeros in the last layers, and in the biases of linear ones the
    means of their targets; None where there are no such layers.
    """
    model = folding.raw
    weights: dict[tuple[str, ...], NumpyArray] = dict(leaves(model.params))
    layers = model.module.children()
    for number, (_, ref, one) in enumerate(_outputs(model, loss)):
        position = last_call(model.module, ref)
        if position is None:
            return None
        name = model.module.nodes[position].layer
        try:
            site, linear = last_site(layers[name], (name,))
        except NoFoldError:
            return None
        if not set(site.paths) <= set(weights):
            return None
        for path in site.paths:
            weights[path] = np.zeros_like(weights[path])
        if linear and site.bias is not None and _is_of_numbers(one):
            moments, place = Moments(), Place(position, name, ref, [site])
            for _, y in _blocks(data):
                part = y[number] if isinstance(loss, OutputLosses) else y
                moments.add(_rows_of(part, _columns(model, place), place, data.names[1]))
            weights[site.bias] += moments.affine("mean", data.names[1]).shift
    return nest(weights)
