"""A mean loss whose penalty changes from step to step, linearized once for both."""

from __future__ import annotations

import dataclasses

import jax

from lmjax._src.arrays import vectors
from lmjax._src.arrays.vectors import Vector
from lmjax._src.objectives.curvature import Form
from lmjax._src.objectives.linearization import Gradient, Linearization
from lmjax._src.objectives.penalties.penalty import Penalty
from lmjax._src.objectives.supervised import SupervisedObjective


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Relinearized(SupervisedObjective):
    """A mean loss with a penalty of squares, at the only point where it will be linearized.

    Attributes:
        known: the linearization there without the penalty.
    """

    known: Linearization | None = None

    @classmethod
    def of(
        cls, objective: SupervisedObjective, penalty: Penalty, known: Linearization
    ) -> Relinearized:
        """``objective``, which has no penalty, with one."""
        fields = {
            field.name: getattr(objective, field.name) for field in dataclasses.fields(objective)
        }
        return cls(**{**fields, "penalty": penalty}, known=known)

    def linearize(self, params: Vector, form: Form) -> Linearization:
        """See :class:`~lmjax._src.objectives.objective.Objective`."""
        known, penalty = self.known, self.penalty
        assert known is not None
        assert penalty is not None
        assert penalty.ridge is not None
        rest = penalty.slope(params, known.gradient)
        gradient = vectors.add(known.gradient, rest)
        values = known.values._replace(penalty=penalty.value(params))
        if form is Form.NORMAL:
            curvature, source = penalty.curved(known.curvature, params), Gradient(rest=gradient)
        else:
            curvature = known.curvature._replace(ridge=penalty.ridge)
            source = Gradient(known.source.rows, rest)
        return known._replace(
            values=values,
            cost=self.cost(values),
            gradient=gradient,
            diagonal=known.diagonal + penalty.ridge,
            curvature=curvature,
            source=source,
        )
