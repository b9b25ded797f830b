"""Where a fit was left, so that another one goes on from there as if there had been no end."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lmjax._src.arrays.structure import Structure
from lmjax._src.arrays.vectors import Vector
from lmjax._src.levenberg_marquardt.status import Status
from lmjax._src.training.following.selection import Kept, Rules
from lmjax._src.typing import PyTree

#: Ends after which more epochs make sense; after the others a step would be the same again.
_MAY_GO_ON = (
    *(Status.RUNNING, Status.MAX_STEPS, Status.INTERRUPTED, Status.STOPPED),
    *(Status.PATIENCE, Status.GOAL, Status.TIME, Status.MIN_GRADIENT),
)
#: Letters of what differs, in a message.
_LETTERS = 200


class Place(NamedTuple):
    """Where what runs the epochs stands."""

    params: Vector
    state: Any  #: of steps on all rows, or on batches
    stage: int = 0  #: the number of the stage, of those of a fit
    slow: Any = 0  #: see :class:`~lmjax._src.training.epochs.epochs.EpochRun`
    evidence: Any = None  #: where regularization is Bayesian


@dataclasses.dataclass(frozen=True, eq=False)
class FitState:
    """What a fit goes on from, as ``FitResult.state`` has it; a pytree of NumPy arrays.

    Attributes:
        now: the parameters after the last epoch.
        place: beside them what was carried; None where a callback has put in ``now``.
        kept: of the validation; None without any.
        best: the parameters that were returned.
        least: the loss by which they were chosen, where the training loss decides.
        origin: the losses at the very start.
        logs: the numbers of the last epoch.
        epochs: how many are done.
        monotone: whether each has lowered the loss.
        status: why the fit stopped.
        made_by: what has to be the same, by the names of arguments.
    """

    now: Vector
    place: Place | None
    kept: Kept | None
    best: Vector
    least: float
    origin: Mapping[str, float]
    logs: Mapping[str, float]
    epochs: int
    monotone: bool
    status: int
    made_by: tuple[tuple[str, str], ...] = ()

    def end(self, rules: Rules) -> Status:
        """Why no epoch is to follow, by the ``rules`` of the next fit; RUNNING if one is."""
        status = Status(int(self.status))
        if status not in _MAY_GO_ON:
            return status
        return rules.verdict(self.logs, self.kept, -1.0)

    def begin(self, made_by: tuple[tuple[str, str], ...], structure: Structure) -> Vector:
        """The parameters to go on from, (P,), with what has to be the same now.

        Raises:
            ValueError: something differs.
        """
        for (name, now), (_, then) in zip(made_by, self.made_by, strict=True):
            if now != then:
                shown = [textwrap.shorten(text, _LETTERS) for text in (then, now)]
                raise ValueError(
                    f"state: it is of a fit with another {name}, {shown[0]}, and here is "
                    f"{shown[1]}; pass the same, or leave state out to begin anew"
                )
        return structure.flatten(self.now) if isinstance(self.now, list) else self.now


jax.tree_util.register_dataclass(
    FitState,
    data_fields=[field.name for field in dataclasses.fields(FitState) if field.name != "made_by"],
    meta_fields=["made_by"],
)


def check_state(given: Any) -> None:
    """Refuses what is no state.

    Raises:
        TypeError: it is none.
    """
    if given is not None and not isinstance(given, FitState):
        raise TypeError(
            f"state: expected FitResult.state of an earlier fit, got {type(given).__name__}"
        )


def on_host(state: FitState) -> FitState:
    """With NumPy's arrays in place of those on a device."""
    return jax.tree.map(lambda leaf: np.asarray(leaf) if hasattr(leaf, "dtype") else leaf, state)


def said_of(thing: Any) -> str:
    """What an object says of itself, without its place in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(thing))


def shapes_of(tree: PyTree) -> str:
    """Shapes and dtypes of arrays."""
    return str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree))
