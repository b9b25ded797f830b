"""What a fit goes by, whatever runs its epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.active_set import Orthants
from lmjax._src.levenberg_marquardt.bounds import FeasibleSet
from lmjax._src.levenberg_marquardt.solver import LevenbergMarquardt
from lmjax._src.training.bayesian.evidence import Prior
from lmjax._src.training.epochs.minibatch import Batches
from lmjax._src.training.following.listening import Audience
from lmjax._src.training.following.selection import Rules


class Course(NamedTuple):
    """What a fit goes by, whatever runs its epochs."""

    solver: LevenbergMarquardt
    objective: Any  #: in memory or streamed
    validation: Any  #: likewise, or None
    epochs: int
    rules: Rules
    offsets: Mapping[str, float]  #: what reported losses have beside costs, by their names
    batches: Batches | None = None
    audience: Audience | None = None
    bounds: FeasibleSet | Orthants | None = None
    #: steps in a round of Adam, and after how many epochs each comes; None for no such rounds
    adam: tuple[int, int] | None = None
    prior: Prior | None = None  #: where regularization is Bayesian

    def resolved(self, flat: Vector) -> Course:
        """With the linear solver that full steps from ``flat`` (P,) use."""
        if self.batches is not None:
            return self
        return self._replace(solver=self.solver.resolved(self.objective, flat))
