"""What a fit is made of: objectives from data, a start from params, and the way back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh

from lmjax._src.arrays.foreign import is_sparse
from lmjax._src.arrays.numbers import each, real_array
from lmjax._src.arrays.structure import Structure, unflatten_returned
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.active_set import Orthants
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet, bounds_for
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.objectives.supervised import SupervisedObjective
from lmjax._src.runtime import contracts
from lmjax._src.training.bayesian.request import Bayesian
from lmjax._src.training.data import Data, InMemory, Streamed
from lmjax._src.training.dataset import make_rows
from lmjax._src.training.epochs.minibatch import Batches
from lmjax._src.training.following.continuation import said_of, shapes_of
from lmjax._src.training.following.selection import Rules
from lmjax._src.training.streaming.objective import StreamedObjective
from lmjax._src.training.streaming.sources import ArraySource
from lmjax._src.training.streaming.stream import Stream
from lmjax._src.typing import Array, DType, Params, PyTree

#: Rows on which a loss is examined before a fit.
_LOOKED_AT = 4096


def objectives(
    template: SupervisedObjective, params: Params, dtype: DType, data: Data, held_out: Data | None
) -> tuple[Any, Any]:
    """The objectives of the data to train and to validate on, both in memory or both streamed; None
    for none.
    """
    streamed = isinstance(data, Streamed) or isinstance(held_out, Streamed)
    build: Callable[[Data], Any] = partial(
        _objective_streamed if streamed else _objective_in_memory, template, params, dtype
    )
    return build(data), None if held_out is None else build(held_out)


def examine_loss(objective: SupervisedObjective | StreamedObjective, flat: Vector) -> None:
    """Has a loss that wants to see some rows before a fit look at those in memory."""
    if isinstance(objective, StreamedObjective):
        return
    examine = getattr(objective.loss, "examine", None)
    if callable(examine):
        inputs, targets, _ = jax.tree.map(lambda leaf: leaf[:_LOOKED_AT], objective.rows)
        params = objective.structure.unflatten(jnp.asarray(flat))
        examine(jax.jit(objective.model)(params, inputs), targets)


def in_dtype(params: Params, dtype: DType) -> Params:
    """``params`` in ``dtype``, on the host where they are."""
    return jax.tree.map(
        lambda leaf: (
            np.asarray(leaf, dtype) if not isinstance(leaf, jax.Array) else leaf.astype(dtype)
        ),
        params,
    )


def feasible_set(bounds: PyTree, params: Params, dtype: DType) -> FeasibleSet | None:
    """What a caller gave as bounds: (lower, upper), a set of their own, or None."""
    if bounds is None:
        return None
    if not hasattr(bounds, "project"):
        return bounds_for(params, bounds, dtype)
    contracts.check(bounds, FeasibleSet, "bounds", hashed=False)
    contracts.check_pytree(bounds, "bounds", "register it as one, or make it a NamedTuple")
    return bounds


def made_by_of(
    template: SupervisedObjective,
    solver: LevenbergMarquardt,
    params: Params,
    objective: Any,
    validation: Any,
    batches: Batches | None,
    rules: Rules,
    limits: FeasibleSet | Orthants | None,
    adam: tuple[int, int] | None,
    regularization: Bayesian | None,
) -> tuple[tuple[str, str], ...]:
    """What has to be the same for a fit that goes on, by the names of arguments."""

    def rows_of(whole: Any) -> str:
        if whole is None:
            return "none"
        if isinstance(whole, StreamedObjective):
            return f"a stream of {whole.num_rows} rows"
        return shapes_of(whole.rows)

    cut = ("none",) * 4 if batches is None else tuple(map(str, batches))
    return (
        ("params", shapes_of(params)),
        *zip(("batch_size", "seed", "shuffle", "steps_per_epoch"), cut, strict=True),
        ("solver", said_of(solver)),
        ("loss", said_of(template.loss)),
        ("x, y and sample_weight", rows_of(objective)),
        ("validation_data", rows_of(validation)),
        # Before what is kept, which follows from it.
        ("regularization", "none" if regularization is None else _said_of_groups(regularization)),
        ("restore", rules.restore),
        ("l2, l1, orthogonal_rows and orthogonal_columns", said_of(template.penalty)),
        ("bounds", said_of(type(limits))),
        ("warm_up_every", "none" if adam is None or not adam[1] else f"{adam[0]} after {adam[1]}"),
    )


def _said_of_groups(bayesian: Bayesian) -> str:
    """With every number of the groups, which an array's own text leaves out."""
    groups = jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), bayesian.groups)
    return f"Bayesian({groups!r})"


def returned(structure: Structure, point: Vector, mesh: AbstractMesh | None) -> Params:
    """The tree to hand to a caller; by the host alone where the device has no memory left for
    it.
    """
    try:
        return unflatten_returned(structure, point, mesh)
    except Exception:  # noqa: BLE001
        return structure.unflatten(jax.tree.map(np.array, point))


def _objective_in_memory(
    template: SupervisedObjective, params: Params, dtype: DType, data: InMemory
) -> SupervisedObjective:
    rows = make_rows(template.model, params, template.loss, *data[:3], dtype, data.names)
    return dataclasses.replace(template, rows=jax.device_put(rows))


def _on_host(leaf: Array, name: str) -> Array:
    return np.asarray(real_array(leaf, name))


def _objective_streamed(
    template: SupervisedObjective, params: Params, dtype: DType, data: Data
) -> StreamedObjective:
    if isinstance(data, Streamed):
        source = data.source
    else:
        source = ArraySource(
            *(
                each(part, name, _on_host, is_sparse)
                for part, name in zip(data[:3], data.names, strict=True)
            )
        )
    return StreamedObjective(
        template, Stream(source, template.model, params, template.loss, dtype, data.names)
    )
