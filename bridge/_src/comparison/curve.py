"""How the losses of one run fell, and where a user would have ended it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Curve(NamedTuple):
    """The losses of one run; four lists of one length, whose first entry is the start."""

    seconds: list[float]
    losses: list[float]
    val_losses: list[float]  #: NaN without validation data
    steps: list[int]  #: done by then

    def until(self, seconds: float) -> Curve:
        """What was reached by then; the start is always among it."""
        count = max(int(np.searchsorted(self.seconds, seconds, side="right")), 1)
        return Curve(
            self.seconds[:count],
            self.losses[:count],
            self.val_losses[:count],
            self.steps[:count],
        )

    @property
    def kept(self) -> int:
        """Which point a fit would return: that of the least validation loss, and without any that
        of the least loss.
        """
        deciding = np.asarray(self.val_losses if self.is_validated else self.losses)
        finite = np.where(np.isfinite(deciding), deciding, math.inf)
        return int(finite.argmin())

    @property
    def is_validated(self) -> bool:
        """Whether there are validation losses."""
        return not math.isnan(self.val_losses[0])

    @property
    def least_loss(self) -> float:
        """The least training loss that was reached."""
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        return min(finite, default=math.inf)
