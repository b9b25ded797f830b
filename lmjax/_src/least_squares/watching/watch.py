"""Who follows a run: a callback, a table, a limit in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from lmjax._src.arrays import arguments
from lmjax._src.arrays.vectors import Vector
from lmjax._src.least_squares.packed import Packed
from lmjax._src.least_squares.second_runs import Outcome
from lmjax._src.least_squares.watching import table
from lmjax._src.least_squares.watching.progress import Progress, optimality
from lmjax._src.levenberg_marquardt.bounds import Bounds
from lmjax._src.levenberg_marquardt.status import Status, is_success
from lmjax._src.objectives.residuals import ResidualObjective
from lmjax._src.runtime import precision
from lmjax._src.runtime.slices import SLICE_SECONDS, slices
from lmjax._src.typing import NumpyArray

Carry = TypeVar("Carry")

#: What may be done between two looks at the clock, as a part of ``max_seconds``.
_PART_OF_LIMIT = 0.05

#: A callback of a caller's own.
Callback = Callable[[Progress], Any]


class Watch:
    """Follows the runs of one call; made by :func:`watch_of`.

    Attributes:
        ended: why it has ended them, if it has.
        error: what the callback has raised.
    """

    def __init__(self, callback: Callback | None, verbose: int, max_seconds: float | None) -> None:
        self._callback, self._verbose, self._max_seconds = callback, verbose, max_seconds
        self._begin = time.perf_counter()
        self._runs, self._cut_short = 0, False
        self.ended: Status | None = None
        self.error: Exception | None = None

    def slices(
        self, advance: Callable[[Carry, int], Carry], carry: Carry, first: int, limit: int
    ) -> Iterator[tuple[Carry, int, float]]:
        """As :func:`lmjax._src.runtime.slices.slices`, short enough for what is watched."""
        if self.shows_steps:
            return slices(advance, carry, 1, 1)
        if self._max_seconds is None:
            return slices(advance, carry, first, limit)
        # Nobody knows how long a step takes before one is done.
        pace = min(SLICE_SECONDS, _PART_OF_LIMIT * self._max_seconds)
        return slices(advance, carry, 1, limit, pace)

    def begins(self, start: Vector) -> Follower:
        """Who follows a run from ``start`` (P,)."""
        self._runs += 1
        return Follower(self, start, self._runs)

    def judged(self, outcome: Outcome) -> Outcome:
        """The outcome of a run with the status of whoever ended it, unless it has converged before,
        or was interrupted.
        """
        if self.ended is None or is_success(outcome.status):
            return outcome
        if outcome.status == Status.INTERRUPTED:
            return outcome
        self._cut_short = True
        return outcome._replace(status=int(self.ended))

    def judged_together(self, outcome: Outcome) -> Outcome:
        """The better outcome of several runs, of which one may have been ended."""
        if self.ended is None or not self._cut_short:
            return outcome
        return outcome._replace(status=int(self.ended))

    def ends(self, outcome: Outcome) -> None:
        """Prints what has come of it all."""
        if self._verbose:
            state = outcome.state
            table.print_end(
                Status(int(outcome.status)),
                int(state.num_steps),
                int(state.num_evaluations),
                float(state.cost),
                self.seconds,
            )

    @property
    def shows_steps(self) -> bool:
        """Whether every step is looked at."""
        return self._callback is not None or self.prints_steps

    @property
    def prints_steps(self) -> bool:
        """Whether every step is to be printed."""
        return self._verbose == 2

    @property
    def seconds(self) -> float:
        """Since the call."""
        return time.perf_counter() - self._begin

    def look_at_clock(self) -> None:
        """Ends the call where it is time."""
        late = self._max_seconds is not None and self.seconds >= self._max_seconds
        if self.ended is None and late:
            self.ended = Status.TIME

    def tell(self, progress: Progress) -> None:
        """Calls the callback, which may end the call."""
        if self._callback is not None and self._asks_to_stop(progress):
            self.ended = Status.STOPPED

    def _asks_to_stop(self, progress: Progress) -> bool:
        try:
            with precision.outside():
                return self._callback is not None and bool(self._callback(progress))
        except StopIteration:
            return True
        except Exception as error:
            self.error = error
            raise


class Follower:
    """What is known of one run of a call that is watched."""

    def __init__(self, watch: Watch, start: Vector, number: int) -> None:
        self._watch, self._number = watch, number
        self._steps, self._last, self._cost = 0, np.asarray(start), np.inf

    def stops(
        self, objective: ResidualObjective, bounds: Bounds | None, flat: Vector, packed: Packed
    ) -> bool:
        """Tells of the run, which has come to ``flat`` (P,); whether it ends here."""
        if packed.is_traced:
            raise refusal()
        counts, numbers = packed.read_counts(), packed.read_numbers()
        if self._watch.shows_steps and counts.num_steps > self._steps:
            if self._steps == 0:
                self._cost = float(numbers.start_cost)
                if self._watch.prints_steps:
                    table.print_start(self._number, self._cost)
            self._tell(objective, bounds, np.array(flat), counts, float(numbers.cost))
        self._watch.look_at_clock()
        return self._watch.ended is not None

    def _tell(
        self,
        objective: ResidualObjective,
        bounds: Bounds | None,
        flat: NumpyArray,
        counts: Any,
        cost: float,
    ) -> None:
        def measure() -> float:
            with precision.scope(flat.dtype):
                return float(optimality(objective, bounds, flat))

        progress = Progress(
            params=objective.structure.unflatten(np.array(flat)),
            x=flat,
            cost=cost,
            nit=counts.num_steps,
            nfev=counts.num_evaluations,
            reduction=self._cost - cost,
            step_norm=float(np.linalg.norm(flat - self._last)),
            seconds=self._watch.seconds,
            _optimality=measure,
        )
        self._steps, self._cost, self._last = counts.num_steps, cost, np.array(flat)
        if self._watch.prints_steps:
            table.print_step(progress)
        self._watch.tell(progress)


def watch_of(callback: Callback | None, verbose: int, max_seconds: float | None) -> Watch | None:
    """Who follows a call with these arguments; None for nobody.

    Raises:
        TypeError, ValueError: an argument is none; the message names it.
    """
    if callback is not None and not callable(callback):
        raise TypeError(f"callback: expected a function of one argument or None, got {callback!r}")
    if isinstance(verbose, bool) or verbose not in (0, 1, 2):
        raise ValueError(
            f"verbose: expected 0 for nothing, 1 for the end or 2 for a table, got {verbose!r}"
        )
    if max_seconds is not None and arguments.real_number(max_seconds, "max_seconds", 0) == 0:
        raise ValueError("max_seconds: expected a number above 0 or None, got 0")
    if callback is None and not verbose and max_seconds is None:
        return None
    return Watch(callback, verbose, None if max_seconds is None else float(max_seconds))


def refusal() -> TypeError:
    """For a call inside of a trace, where there is nothing to look at."""
    return TypeError(
        "callback, verbose, max_seconds: look at the run from outside of it, and so work outside "
        "of jit, vmap and grad only; leave them out inside, or call least_squares by itself"
    )
