"""What a history tells of steps, by the names that it has there."""

from __future__ import annotations

import numpy as np

from lmjax._src.levenberg_marquardt.damping import DampingRule
from lmjax._src.levenberg_marquardt.state import StepNumbers
from lmjax._src.plots.names import RESTRAINTS


def named(rule: DampingRule, numbers: StepNumbers, count: int) -> dict[str, list[float]]:
    """The numbers of the first ``count`` steps, of one or of a list of them."""
    damping, radius = RESTRAINTS
    first = damping if rule.gives_damped_steps else radius
    return {
        first if name == damping else name: np.atleast_1d(np.asarray(values))[:count].tolist()
        for name, values in numbers._asdict().items()
    }
