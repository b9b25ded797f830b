"""A fit of a converted model by :func:`lmjax.fit`, in numbers that Keras can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lmjax
from bridge._src.description.weights import leaves, nest
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.module.renaming import to_names, to_numbers
from bridge._src.training.data import as_arrays
from bridge._src.training.entering import Entrance
from bridge._src.training.following.listener import Renamed
from bridge._src.training.independent_rows import check_rows_apart
from bridge._src.training.losses import check_unmasked
from bridge._src.training.masks import output_mask
from bridge._src.training.outputs.losses import OutputLosses
from bridge._src.training.outputs.side_by_side import side_by_side
from bridge._src.training.penalties import bayesian_of, check_trainable
from bridge._src.training.preparation import preparation_of
from bridge._src.training.problem import Problem, problem_of
from bridge._src.training.standardization.request import Request
from bridge._src.training.standardization.units import OwnUnits, Standardized, Units
from bridge._src.training.starts.starts import starts_of
from lmjax._src.arrays.structure import Structure
from lmjax._src.runtime.precision import scope
from lmjax._src.training.data import Data, Streamed
from lmjax._src.training.following.listening import Listener
from lmjax._src.typing import DType, Params, PyTree


def train(
    converted: FlaxModel,
    data: Data,
    held_out: Data | None = None,
    *,
    loss: Any,
    standardize: Request | None = None,
    restarts: int = 1,
    started: Callable[[Params], object] | None = None,
    **options: Any,
) -> lmjax.FitResult:
    """:func:`lmjax.fit` of a converted model with its regularizers; the params come rounded to
    Keras' own precision.

    They are the initial ones if rounding took away what the fit had gained. An exception carries
    the result until then as :func:`lmjax.fit` has it, with params of the same kind. Layers at the
    front that only sort data into categories are applied once, before the fit.

    Args:
        converted: the model.
        data: to train on; several inputs in a list, in the model's order.
        held_out: to validate on.
        loss: one of :mod:`lmjax.losses` or a name; or losses of outputs, for data whose targets and
            weights are lists.
        standardize: what of the data the weights are trained on in other units; listeners and the
            result have the weights that take and give the data as they are.
        restarts: the number of starts, the model's own weights among them; others are drawn anew.
        started: is called with the weights that the fit begins with, where warm-up does, too.
        **options: as those of :func:`lmjax.fit`; a listener gets params under Keras' names.
    """
    check_trainable(converted)
    units: Units = OwnUnits(converted)
    if standardize is not None:
        units = Standardized.of(converted, data, held_out, loss, standardize, options)
    found = ready(units.model, data, held_out, units.loss(loss))
    converted, problem, everything, enter = found
    problem, module = units.penalised(problem, converted), converted.module
    options["regularization"] = bayesian_of(options.get("regularization"), converted)
    starts = starts_of(converted, restarts, options.get("seed", 0)).params
    if started is not None:
        started(units.fold(to_names(_allowed(problem, converted.dtype), module)))
    if isinstance(listener := options.get("callbacks"), Listener):
        options["callbacks"] = Renamed(
            listener,
            lambda params: units.fold(to_names(params, module)),
            lambda params: to_numbers(units.unfold(params), module),
        )
    try:
        result = lmjax.fit(
            problem.function,
            problem.params,
            everything[0],
            loss=problem.loss,
            validation_data=everything[1] if everything[1:] else None,
            **problem.penalties,
            bounds=problem.bounds,
            restarts=[to_numbers(start, module) for start in starts[1:]],
            **options,
        )
    except BaseException as error:
        if isinstance(until_then := getattr(error, "result", None), lmjax.FitResult):
            error.result = _rounded_result(until_then, problem, converted, units)  # type: ignore[attr-defined]
        raise
    result = dataclasses.replace(
        result,
        _ends=[
            end._replace(
                inputs=enter,
                prior=end.prior._replace(names=_named(end.prior.names, problem.params, module)),
            )
            for end in result._ends
        ],
    )
    return _rounded_result(result, problem, converted, units)


def _named(groups: tuple[str, ...], params: Params, module: KerasGraph) -> tuple[str, ...]:
    """Names of groups, those of single arrays as Keras has them: ``dense/kernel``."""
    paths = [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]
    ]
    named = to_names(jax.tree.unflatten(jax.tree.structure(params), paths), module)
    found = {numbered: "/".join(path) for path, numbered in leaves(named)}
    return tuple(found.get(name, name) for name in groups)


def _allowed(problem: Problem, dtype: DType) -> Params:
    """The start, within the constraints."""
    if problem.bounds is None:
        return problem.params
    structure = Structure.of(problem.params)
    with scope(dtype):
        flat = jnp.asarray(structure.flatten_concrete(problem.params, dtype))
        return jax.tree.map(np.asarray, structure.unflatten(problem.bounds.project(flat)))


class Ready(NamedTuple):
    """A converted model with its data, as :func:`lmjax.fit` takes them."""

    model: FlaxModel
    problem: Problem
    data: list[Data]  #: to train on, and to validate on if there are any
    enter: Callable[[PyTree], PyTree]  #: makes inputs of the function of those of the model


def ready(converted: FlaxModel, data: Data, held_out: Data | None, loss: Any) -> Ready:
    """What is to be trained; arguments as those of :func:`train`."""
    everything, laid_out = [data] if held_out is None else [data, held_out], None
    if isinstance(loss, OutputLosses):
        rows = side_by_side(converted, loss, data)
        converted, loss, laid_out = rows.model, rows.loss, rows.weights
        everything = [rows.data(given) for given in everything]
    check_rows_apart(converted)
    entrance, mask = Entrance(converted), output_mask(converted, laid_out)
    everything = [entrance.data(given) for given in everything]
    if mask is not None:
        masked = [mask.data(given) for given in everything]
        if any(
            isinstance(one, Streamed) or one.sample_weight is not other.sample_weight  # type: ignore[union-attr]
            for one, other in zip(masked, everything, strict=True)
        ):
            check_unmasked(loss)
        everything = masked
    prepared = preparation_of(converted, *everything)
    if prepared is not None:
        converted = prepared.model
        everything = [prepared.data(given) for given in everything]

    def enter(x: PyTree) -> PyTree:
        entered = entrance.inputs(as_arrays(x))
        return entered if prepared is None else prepared(entered)

    return Ready(converted, problem_of(converted, loss), everything, enter)


def _rounded_result(
    result: lmjax.FitResult, problem: Problem, converted: FlaxModel, units: Units
) -> lmjax.FitResult:
    """``result`` with params as :func:`train` returns them."""
    module = converted.module
    named = units.fold(to_names(result.params, module))
    rounded = _rounded(named, converted)
    # Where constraints moved the start, there is no going back to it.
    better = (
        problem.bounds is not None
        or _equal(rounded, named)
        or result.is_gain(to_numbers(units.unfold(rounded), module))
    )
    kept = better and units.is_gain(rounded, result)
    return dataclasses.replace(result, params=rounded if kept else units.given)


def _equal(some: PyTree, others: PyTree) -> bool:
    return all(
        np.array_equal(one, other)
        for one, other in zip(jax.tree.leaves(some), jax.tree.leaves(others), strict=True)
    )


def _rounded(params: Params, converted: FlaxModel) -> Params:
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
