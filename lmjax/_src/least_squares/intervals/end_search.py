"""The search for the end of an interval: where the root of a profile's rise reaches a level.

The root of the rise is what to search with: along the profile of a linear model it is a straight
line, so that the first trial is the end (the profile t function of D. M. Bates, D. G. Watts,
"Nonlinear Regression Analysis and its Applications", 1988, section 6.1). Trials are numbers on the
host, and each is a fit; many searches share a batch of fits.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

#: Trials of one search at the most: as many as halving takes from the largest distance to the last
#: digit, and some.
MAX_TRIALS = 100

#: A step outwards is at most 2ᵏ⁺¹ times the distance, and at least 2ᵏ⁻⁸ of it, at the k-th of them:
#: short at first, where the profile is nearly straight, and soon beyond all that may be an end.
_LEAST_STEP, _MOST_STEP = 2.0**-8, 2.0

#: The part of a bracket that a trial keeps away from its ends.
_MARGIN = 1e-3

#: The part of a distance that is taken for the other end of a bracket which begins at zero.
_NONE = 1e-4

#: The part of a distance by which interpolation may still move an end that is near enough.
_CORRECTION = 1e-2


@dataclasses.dataclass
class EndSearch:
    """One end of an interval, by distances from the solution.

    Attributes:
        level: the root of the rise at the end, positive.
        expected: the distance at which to try first, positive.
        limit: the distance of the bound, where the search ends; infinite without one.
        far: the distance from which on a rise below the level counts as one that never reaches it.
        tolerance: how near to the level the root has to come, a fraction of it.
        size: the absolute value of the parameter at the solution.
        epsilon: the rounding of its dtype.
        end: the distance of the end once it is known; infinite where there is none.
    """

    level: float
    expected: float
    limit: float
    far: float
    tolerance: float
    size: float
    epsilon: float
    end: float | None = None

    def __post_init__(self) -> None:
        """Begins at the solution."""
        self._points = [(0.0, 0.0)]  #: (distance, root) of all that have finite roots
        self._inside = 0.0  #: the largest distance below the level
        self._outside = math.inf  #: the least one above it
        self._finite = False  #: whether the root is finite there
        self._steps = 0  #: outwards
        self._widths = [math.inf, math.inf]  #: of the bracket, before the last two trials
        self._trials = 0

    @property
    def trial(self) -> float:
        """The distance to try next, until there is an :attr:`end`."""
        if math.isinf(self._outside):
            return min(self._outwards(), self.limit)
        return self._within()

    def tell(self, distance: float, root: float) -> None:
        """What a trial has given; not finite where the profile has no value."""
        self._trials += 1
        finite = math.isfinite(root)
        if finite:
            self._points.append((distance, root))
        if finite and root <= self.level:
            self._inside = max(self._inside, distance)
        elif distance < self._outside:
            self._outside, self._finite = distance, finite
        self._widths = [self._widths[1], self._outside - self._inside]
        if finite and abs(root - self.level) <= self.tolerance * self.level:
            self.end = min(self._corrected(distance), self.limit)
        elif self._inside >= self.limit:
            self.end = self.limit
        elif self._inside >= self.far and math.isinf(self.limit):
            self.end = math.inf
        elif self._is_narrow() or self._trials >= MAX_TRIALS:
            self.end = self._inside

    def _is_narrow(self) -> bool:
        """Whether rounding, or half of the digits where the profile has an edge, is all that is
        left between inside and outside.
        """
        if math.isinf(self._outside):
            return False
        left = 0.0 if self._finite else self.tolerance * self._outside
        left = max(left, 2 * self.epsilon * (self.size + self._outside))
        return self._outside - self._inside <= left

    def _corrected(self, distance: float) -> float:
        """A distance within the tolerance, with what interpolation adds to its digits."""
        guess = self._interpolated()
        near = guess is not None and abs(guess - distance) <= _CORRECTION * distance
        return guess if guess is not None and near else distance

    def _outwards(self) -> float:
        if len(self._points) == 1 and self._steps == 0:
            return self.expected
        (before, lower), (distance, root) = sorted(self._points)[-2:]
        factor = 2.0**self._steps
        self._steps += 1
        step = (self.level - root) * (distance - before) / max(root - lower, 1e-300)
        step = min(max(step, _LEAST_STEP * factor * distance), _MOST_STEP * factor * distance)
        # Beyond what counts as endless there is only the bound to look at.
        return distance + step if distance < self.far else self.limit

    def _within(self) -> float:
        inside, outside = self._inside, self._outside
        guess = self._interpolated()
        if guess is None or not self._finite or 2 * self._widths[1] > self._widths[0]:
            # In the middle of the digits where they differ by much; of none, a few are tried.
            inside = inside or _NONE * outside
            return math.sqrt(inside * outside) if 4 * inside < outside else (inside + outside) / 2
        margin = _MARGIN * (outside - inside)
        return min(max(guess, inside + margin), outside - margin)

    def _interpolated(self) -> float | None:
        """Where the distance as a polynomial of the root, through the three points next to the
        level, meets it; None where they are in no order.
        """
        nearest = sorted(self._points, key=lambda point: abs(point[1] - self.level))[:3]
        nearest.sort(key=lambda point: point[1])
        distances, roots = zip(*nearest, strict=True)
        if min(np.diff(roots), default=0) <= 0 or min(np.diff(distances), default=0) <= 0:
            return None
        total = 0.0
        for k, distance in enumerate(distances):
            others = [j for j in range(len(roots)) if j != k]
            total += distance * math.prod(
                (self.level - roots[j]) / (roots[k] - roots[j]) for j in others
            )
        return min(max(total, self._inside), self._outside)
