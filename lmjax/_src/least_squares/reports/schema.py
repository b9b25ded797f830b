"""What the entries of a report are, so that nothing else is read from a file."""

from __future__ import annotations

from typing import Any

from lmjax._src.least_squares.reports.summary import MAX_LISTED
from lmjax._src.least_squares.reports.trees import (
    MAX_NUMBERS,
    DamagedError,
    number_as_json,
    number_from_json,
)
from lmjax._src.levenberg_marquardt.status import Status

#: Characters of one name or sentence at the most.
_MAX_TEXT = 10_000

#: (name, kind of value, whether it may be None)
_Field = tuple[str, Any, bool]

_PARAMETER: tuple[_Field, ...] = (
    ("name", str, False),
    ("value", float, False),
    ("standard_error", float, True),
    ("percent", float, True),
    ("start", float, True),
    ("state", str, False),
    ("is_undetermined", bool, False),
)
_DIRECTION: tuple[_Field, ...] = (
    ("has_influence", bool, False),
    ("moves", [[str, float]], False),
)
_REPORT: tuple[_Field, ...] = (
    ("success", bool, False),
    ("status", str, False),
    ("message", str, False),
    ("num_steps", int, False),
    ("num_evaluations", int, False),
    ("linear_solver", str, False),
    ("geodesic_acceleration", bool, False),
    ("cost", float, False),
    ("chi_square", float, False),
    ("reduced_chi_square", float, True),
    ("r_squared", float, True),
    ("aic", float, True),
    ("bic", float, True),
    ("num_residuals", int, False),
    ("num_params", int, False),
    ("num_varying", int, False),
    ("degrees_of_freedom", int, False),
    ("absolute_sigma", bool, False),
    ("loss", str, True),
    ("condition", float, True),
    ("parameters", [_PARAMETER], False),
    ("parameters_left_out", int, False),
    ("undetermined", [_DIRECTION], False),
    ("undetermined_left_out", int, False),
    ("correlations", [[str, str, float]], False),
    ("correlations_left_out", int, False),
    ("notes", [str], False),
)


def as_json(value: Any) -> Any:
    """A report, or a part of it, with words in place of infinity and NaN."""
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_json(each) for each in value]
    return number_as_json(value) if isinstance(value, float) else value


def from_json(value: Any) -> dict[str, Any]:
    """The report that :func:`as_json` had.

    Raises:
        DamagedError: it is none.
    """
    report: dict[str, Any] = _read(value, _REPORT, "summary")
    if report["status"] not in Status.__members__:
        raise DamagedError("summary.status is none of lmjax.Status")
    if Status[report["status"]].success != report["success"]:
        raise DamagedError("summary.success is not that of its status")
    return report


def _read(value: Any, kind: Any, where: str) -> Any:
    if kind is float:
        return number_from_json(value, where)
    if kind is str:
        if isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable():
            return value
        raise DamagedError(f"{where} should be a line of text")
    if isinstance(kind, type):
        # True is an int, too, whose absolute value is small.
        if type(value) is kind and isinstance(value, int) and abs(value) <= MAX_NUMBERS**2:
            return value
        raise DamagedError(f"{where} should be of type {kind.__name__}")
    if isinstance(kind, tuple):
        return _read_fields(value, kind, where)
    if not isinstance(value, list):
        raise DamagedError(f"{where} should be a list")
    if len(kind) > 1:  # one kind for each entry
        if len(value) != len(kind):
            raise DamagedError(f"{where} should have {len(kind)} entries each")
        return [_read(each, of, where) for each, of in zip(value, kind, strict=True)]
    if len(value) > MAX_LISTED:
        raise DamagedError(f"{where} should have at most {MAX_LISTED} entries")
    return [_read(each, kind[0], where) for each in value]


def _read_fields(value: Any, fields: tuple[_Field, ...], where: str) -> dict[str, Any]:
    names = {name for name, _, _ in fields}
    if not isinstance(value, dict) or set(value) != names:
        raise DamagedError(f"{where} should have the entries {', '.join(sorted(names))}")
    return {
        name: None
        if optional and value[name] is None
        else _read(value[name], kind, f"{where}.{name}")
        for name, kind, optional in fields
    }
