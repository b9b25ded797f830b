"""Who is told of a fit while it runs: functions of a caller's, or a listener that stands for
Keras' callbacks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lmjax._src.arrays.vectors import Vector
from lmjax._src.runtime import precision
from lmjax._src.typing import Params

#: Called after an epoch with its number (from 0) and its numbers by name; what counts as true ends
#: the fit.
Callback = Callable[[int, dict[str, float]], object]
#: The parameters now, structured as they were given; made only for those who ask.
Now = Callable[[], Params]


class Beginning(NamedTuple):
    """What a listener wants before the first epoch."""

    skipped: int = 0  #: epochs that an earlier run has done
    params: Params | None = None  #: to begin from in place of those that were given


class Wish(NamedTuple):
    """What a listener wants after an epoch."""

    logs: dict[str, float]  #: what is to be shown of it
    stop: bool = False
    params: Params | None = None  #: to go on from


class Listener:
    """Is told of every epoch of a fit; this one has no wishes.

    All methods run on the host, in JAX's mode of the caller.
    """

    #: Whether it wants to be told of batches, which are then run one by one.
    by_batch = False

    def begin(self) -> Beginning:
        """Before the first epoch, when everything that was passed has been checked."""
        return Beginning()

    def begin_epoch(self, epoch: int) -> None:
        """Before epoch number ``epoch``, from 0."""

    def begin_batch(self, batch: int, now: Now) -> None:
        """Before batch number ``batch`` of an epoch, from 0."""

    def end_batch(self, batch: int, loss: float, now: Now) -> bool:
        """After a batch, with its ``loss`` before the step; whether the fit is to end."""
        return False

    def end_epoch(self, epoch: int, logs: dict[str, float], now: Now) -> Wish:
        """After an epoch, with its numbers by name."""
        return Wish(logs)


@dataclasses.dataclass(frozen=True)
class Functions(Listener):
    """Calls functions after every epoch; all of them, also when one has had enough."""

    functions: tuple[Callback, ...]

    def end_epoch(self, epoch: int, logs: dict[str, float], now: Now) -> Wish:
        """One that returns something true, such as NumPy's, wants the fit to end."""
        wishes = [bool(function(epoch, dict(logs))) for function in self.functions]
        return Wish(logs, any(wishes))


def listener_of(callbacks: Callback | Sequence[Callback] | Listener) -> Listener | None:
    """What a caller gave as ``callbacks``; None for nobody.

    Raises:
        TypeError: one cannot be called.
    """
    if isinstance(callbacks, Listener):
        return callbacks
    given = (callbacks,) if callable(callbacks) else tuple(callbacks or ())
    for callback in given:
        if not callable(callback):
            raise TypeError(f"callbacks: expected functions of (epoch, logs), got {callback!r}")
    return Functions(given) if given else None


class Audience:
    """A listener, who is told of parameters outside of a fit's precision.

    Args:
        listener: who is told.
        tree: the parameters for a caller.
        flat: parameters of a caller's, (P,).
    """

    def __init__(
        self,
        listener: Listener,
        tree: Callable[[Vector], Params],
        flat: Callable[[Params], Vector],
    ) -> None:
        self._listener, self._tree, self._flat = listener, tree, flat
        self.by_batch = listener.by_batch

    def begin(self) -> tuple[int, Vector | None]:
        """See :class:`Listener`."""
        with precision.outside():
            skipped, params = self._listener.begin()
        return skipped, None if params is None else self._flat(params)

    def begin_epoch(self, epoch: int) -> None:
        """See :class:`Listener`."""
        with precision.outside():
            self._listener.begin_epoch(epoch)

    def begin_batch(self, batch: int, params: Vector) -> None:
        """See :class:`Listener`."""
        with precision.outside():
            self._listener.begin_batch(batch, lambda: self._tree(params))

    def end_batch(self, batch: int, loss: float, params: Vector) -> bool:
        """See :class:`Listener`."""
        with precision.outside():
            return self._listener.end_batch(batch, loss, lambda: self._tree(params))

    def end_epoch(self, epoch: int, logs: dict[str, float], params: Vector) -> Wish:
        """See :class:`Listener`; params of the wish are (P,)."""
        with precision.outside():
            wish = self._listener.end_epoch(epoch, logs, lambda: self._tree(params))
        return wish if wish.params is None else wish._replace(params=self._flat(wish.params))
