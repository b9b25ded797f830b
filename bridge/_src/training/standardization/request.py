"""What ``standardize`` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

#: MATLAB's mapstd (zero mean, unit variance) and mapminmax (from -1 to 1).
MAPS = ("mean", "range")
SIDES = ("inputs", "targets")


class Request(NamedTuple):
    """The map of each side, one of :data:`MAPS`, or None."""

    inputs: str | None
    targets: str | None


def request_of(given: Any) -> Request | None:
    """What is asked for; None for nothing.

    Raises:
        TypeError, ValueError: there is no such option.
    """
    if given is None or given is False:
        return None
    if given is True or (isinstance(given, str) and given == "both"):
        return Request(MAPS[0], MAPS[0])
    if isinstance(given, str) and given in SIDES:
        return Request(*(MAPS[0] if side == given else None for side in SIDES))
    if isinstance(given, Mapping) and given and set(given) <= set(SIDES):
        wrong = [map_ for map_ in given.values() if map_ not in (*MAPS, None)]
        if not wrong:
            asked = Request(*(given.get(side) for side in SIDES))
            return asked if any(asked) else None
    raise (ValueError if isinstance(given, (str, Mapping)) else TypeError)(
        'standardize: expected "inputs", "targets", "both", or a dictionary that says how, such as '
        f'{{"inputs": "range", "targets": "mean"}}; got {given!r}'
    )
