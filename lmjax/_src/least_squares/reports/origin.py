"""What a report needs to know beside the solution: where the run came from."""

from __future__ import annotations

import dataclasses

import jax

from lmjax._src.arrays.vectors import Vector
from lmjax._src.typing import Scalar


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Origin:
    """The start of a run, and what is known of its data; a part of a solution, which leaves ``jit``
    and ``vmap`` with it.

    Attributes:
        start: where the run began, (P,), within the bounds; None where nobody has kept it.
        total: the sum of squares of the data about their mean, weighted as the residuals are; None
            where the residuals do not tell what the data are.
        labels: names of the parameters; None for those of their places in the pytree.
        absolute_sigma: whether reports take the residuals to be in units of their known standard
            deviations.
    """

    start: Vector | None = None
    total: Scalar | None = None
    labels: tuple[str, ...] | None = dataclasses.field(default=None, metadata={"static": True})
    absolute_sigma: bool = dataclasses.field(default=False, metadata={"static": True})
