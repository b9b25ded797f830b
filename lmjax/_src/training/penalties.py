"""The penalties of a fit as vectors, and the limits of its steps that come with them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.arrays.structure import Structure
from lmjax._src.levenberg_marquardt.active_set import Orthants
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.typing import Array, DType, Params, PyTree


def penalty_of(l2: PyTree, l1: PyTree, params: Params, dtype: DType) -> Penalty | None:
    """Σ l2 · params² + Σ l1 · |params|; None without any.

    The factors are numbers, pytrees that ``params`` extends, or None.

    Raises:
        ValueError: factors do not fit ``params``, or one of ``l1`` is negative.
    """
    squares, sizes = (
        None if given is None else _spread(given, params, dtype, name)
        for given, name in ((l2, "l2"), (l1, "l1"))
    )
    if sizes is not None and not (np.isfinite(sizes) & (sizes >= 0)).all():
        raise ValueError(
            "l1: expected factors of at least 0, got some that are negative or no number"
        )
    if sizes is not None and not sizes.any():
        sizes = None
    if squares is None and sizes is None:
        return None
    return Penalty(
        None if squares is None else jnp.asarray(squares),
        None if sizes is None else jnp.asarray(sizes),
    )


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
    array: nothing is held entry by entry, and squares have one factor throughout an array.
    """
    if limits is not None:
        return False
    if penalty is None or penalty.l2 is None:
        return True
    factors: Array = np.asarray(penalty.l2)
    return all(
        leaf.size == 0 or bool((leaf == leaf.flat[0]).all()) for leaf in structure.split(factors)
    )


def _spread(factors: PyTree, params: Params, dtype: DType, name: str) -> Array:
    """The factors as a vector (P,)."""
    try:
        spread = jax.tree.map(
            lambda factor, leaf: np.broadcast_to(np.asarray(factor, dtype), np.shape(leaf)),
            jax.tree.broadcast(factors, params),
            params,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: expected a number or a pytree that params extends; {error}"
        ) from error
    return np.asarray(Structure.of(params).flatten_concrete(spread, dtype))
