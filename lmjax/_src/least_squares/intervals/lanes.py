"""The ends of intervals: for each a search, and the fits that it has made so far."""

from __future__ import annotations

import math

import numpy as np

from lmjax._src.least_squares.intervals.end_search import EndSearch
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.typing import NumpyArray

#: How often fits that reach the limit on steps above the level go on before they count as they are.
_TRIES = 3

#: How a fit ends that may have a lower cost before it. Where no damping lowers the cost there is
#: none, as on the plateau of a rate that is over.
_DOUBTFUL = (Status.RUNNING, Status.ILL_CONDITIONED, Status.NON_FINITE_DERIVATIVE)


class Lane:
    """One end of the interval of one parameter, and where the fits beside it have come to."""

    def __init__(
        self, index: int, side: int, flat: NumpyArray, along: NumpyArray, search: EndSearch
    ) -> None:
        self.index, self.side, self.search = index, side, search
        #: (distance, whether there may be a lower cost) of the nearest fit above the level
        self._above = (math.inf, False)
        self._flat, self._along, self._tries = flat, along, 0
        self._known = [(0.0, flat)]  #: (distance, params) of the fits
        self._inside = [(0.0, flat)]  #: those below the level
        self._unfinished: NumpyArray | None = None

    def starts(self, distance: float) -> NumpyArray:
        """Two starts of the fit at that distance, (2, P): along a line through the fits next to it,
        and from the next one below the level.
        """

        def next_to(one: tuple[float, NumpyArray]) -> float:
            return abs(one[0] - distance)

        near, far = (sorted(self._known, key=next_to) * 2)[:2]
        if self._unfinished is not None:
            line = self._unfinished
        elif len(self._known) == 1:
            line = self._flat + self.side * distance * self._along
        else:
            slope = (far[1] - near[1]) / (far[0] - near[0])
            line = near[1] + slope * (distance - near[0])
        found = np.stack([line, min(self._inside, key=next_to)[1]])
        found[~np.isfinite(found)] = 0
        found[:, self.index] = self._flat[self.index] + self.side * distance
        return found.astype(self._flat.dtype)

    def tell(self, params: NumpyArray, rise: float, status: int) -> None:
        """What a fit has come to; one that may go on below the level does so."""
        # As it is after rounding.
        distance = self.side * (float(params[self.index]) - float(self._flat[self.index]))
        level = self.search.level**2
        above = not rise <= level
        if math.isfinite(rise) and above and status == Status.RUNNING and self._tries < _TRIES:
            self._tries += 1
            self._unfinished = params
            return
        self._tries, self._unfinished = 0, None
        if math.isfinite(rise) and above and distance < self._above[0]:
            self._above = distance, status in _DOUBTFUL
        if math.isfinite(rise):
            self._known = [one for one in self._known if one[0] != distance]
            self._known.append((distance, params))
            if not above:
                self._inside.append((distance, params))
        root = math.copysign(math.sqrt(abs(rise)), rise) if math.isfinite(rise) else math.inf
        self.search.tell(distance, root)

    @property
    def is_doubtful(self) -> bool:
        """Whether the end may lie beyond, since no minimum was found where the cost is too high."""
        return self._above[1] and math.isfinite(self.end)

    @property
    def end(self) -> float:
        """The value of the parameter at the end."""
        assert self.search.end is not None
        return float(self._flat[self.index]) + self.side * self.search.end
