"""The penalties of a fit as vectors, and the limits of its steps that come with them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.structure import Structure, spread
from lmjax._src.levenberg_marquardt.active_set import Orthants
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.objectives.penalties.orthogonality import Orthogonality
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.typing import Array, DType, Params, PyTree


def penalty_of(
    l2: PyTree,
    l1: PyTree,
    params: Params,
    dtype: DType,
    orthogonal_rows: PyTree = None,
    orthogonal_columns: PyTree = None,
) -> Penalty | None:
    """Σ l2 · params² + Σ l1 · |params|, and what keeps rows or columns of matrices orthogonal; None
    without any.

    The factors are numbers, pytrees that ``params`` extends, or None.

    Raises:
        ValueError: factors do not fit ``params``, or one that may not be is negative.
    """
    squares = None if l2 is None else _spread(l2, params, dtype, "l2")
    sizes = None if l1 is None else _checked(_spread(l1, params, dtype, "l1"), "l1")
    if sizes is not None and not sizes.any():
        sizes = None
    orthogonal = [
        *_orthogonal(orthogonal_rows, params, dtype, "orthogonal_rows"),
        *_orthogonal(orthogonal_columns, params, dtype, "orthogonal_columns", by_columns=True),
    ]
    if squares is None and sizes is None and not orthogonal:
        return None
    return Penalty(
        None if squares is None else jnp.asarray(squares),
        None if sizes is None else jnp.asarray(sizes),
        tuple(orthogonal),
    )


def _orthogonal(
    factors: PyTree, params: Params, dtype: DType, name: str, by_columns: bool = False
) -> Iterator[Orthogonality]:
    """One for each matrix whose factor is not zero."""
    if factors is None:
        return
    structure = Structure.of(params)
    starts = np.cumsum([0, *(math.prod(shape) for shape in structure.shapes)])
    for index, (start, shape, leaf) in enumerate(
        zip(
            starts,
            structure.shapes,
            structure.split(_checked(_spread(factors, params, dtype, name), name)),
            strict=False,
        )
    ):
        values = np.unique(leaf)
        if not values.any():
            continue
        array, vectors = structure.array_name(index), "columns" if by_columns else "rows"
        if len(shape) != 2 or shape[int(by_columns)] < 2:
            raise ValueError(
                f"{name}: expected factors of matrices with at least two {vectors}, got one of "
                f"{array}, whose shape is {shape}; make it 0"
            )
        if len(values) > 1:
            raise ValueError(
                f"{name}: expected one factor for all of {array}, got several; give a number"
            )
        yield Orthogonality(jnp.asarray(values[0]), int(start), shape, by_columns)


def limits_of(
    feasible: FeasibleSet | None, penalty: Penalty | None
) -> FeasibleSet | Orthants | None:
    """Where steps may go, by what limits the parameters and by the kinks of the penalty."""
    if penalty is None or penalty.l1 is None:
        return feasible
    return Orthants(penalty.l1 > 0, feasible)


def serves_arrays(
    penalty: Penalty | None, limits: FeasibleSet | Orthants | None, structure: Structure
) -> bool:
    """Whether the dual form from the layers of a model may serve, which has one number for each
    array: nothing is held entry by entry, squares have one factor throughout an array, and no rows
    of J are those of a penalty.
    """
    if limits is not None or (penalty is not None and penalty.orthogonal):
        return False
    if penalty is None or penalty.l2 is None:
        return True
    factors: Array = np.asarray(penalty.l2)
    return all(
        leaf.size == 0 or bool((leaf == leaf.flat[0]).all()) for leaf in structure.split(factors)
    )


def _checked(factors: Array, name: str) -> Array:
    if not (np.isfinite(factors) & (factors >= 0)).all():
        raise ValueError(
            f"{name}: expected factors of at least 0, got some that are negative or no number"
        )
    return factors


def _spread(factors: PyTree, params: Params, dtype: DType, name: str) -> Array:
    """The factors as a vector (P,)."""
    return spread(factors, params, dtype, name, "a number or a pytree that params extends")
