"""A report as text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from typing import Any

#: Lines of parameters, of correlations and of undetermined directions at the most.
MOST_LINES = 40

#: Parameters named in one direction at the most.
_MOST_NAMES = 6

_WIDTH = 100


def text_of(report: dict[str, Any]) -> str:
    """What ``print(solution)`` shows of a :meth:`Solution.summary`."""
    return "\n".join(_lines(report))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield from textwrap.wrap(f"{report['status']}: {report['message']}", _WIDTH)
    for row in counts(report), goodness(report):
        yield "  " + row
    yield ""
    yield from _table(parameter_rows(report))
    yield from left_out(report, "parameters", "params has them all")
    for title, lines in (
        ("Not determined by the data, to first order:", undetermined(report)),
        ("Correlations above 0.1:", correlations(report)),
    ):
        if lines:
            yield ""
            yield title
            for line in lines:
                yield from textwrap.wrap(
                    line, _WIDTH, initial_indent="  ", subsequent_indent="    "
                )
    if report["notes"]:
        yield ""
    for note in report["notes"]:
        yield from textwrap.wrap(note, _WIDTH)


def counts(report: dict[str, Any]) -> str:
    """What the fit was of, and how long it took."""
    return (
        f"{report['num_residuals']} residuals, {report['num_varying']} of "
        f"{report['num_params']} parameters vary, {report['degrees_of_freedom']} degrees of "
        f"freedom; {report['num_steps']} steps, {report['num_evaluations']} evaluations, "
        f"{report['linear_solver']}"
    )


def goodness(report: dict[str, Any]) -> str:
    """The figures of the fit in one line; those that are not known left out."""
    figures = {
        "cost": report["cost"],
        "χ²": report["chi_square"],
        "reduced χ²": report["reduced_chi_square"],
        "R²": report["r_squared"],
        "AIC": report["aic"],
        "BIC": report["bic"],
        "condition": report["condition"],
    }
    precision = {"R²": ".8g", "condition": ".2g"}
    return ", ".join(
        f"{name} {value:{precision.get(name, '.7g')}}"
        for name, value in figures.items()
        if value is not None
    )


def parameter_rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Name, value, standard error, per cent, start and remarks, with a head."""
    rows: list[tuple[str, ...]] = [("parameter", "value", "standard error", "", "start", "")]
    for each in report["parameters"][:MOST_LINES]:
        error, percent = each["standard_error"], each["percent"]
        remarks = [] if each["state"] == "free" else [each["state"]]
        if each["is_undetermined"]:
            remarks.append("not determined")
        rows.append(
            (
                each["name"],
                f"{each['value']:.8g}",
                "" if error is None else f"± {error:.4g}",
                "" if percent is None or not math.isfinite(percent) else f"({percent:.3g} %)",
                "" if each["start"] is None else f"{each['start']:.6g}",
                ", ".join(remarks),
            )
        )
    return rows


def undetermined(report: dict[str, Any]) -> list[str]:
    """One line for each direction in which nothing changes."""
    lines = []
    for each in report["undetermined"][:MOST_LINES]:
        moves = each["moves"]
        names = ", ".join(name for name, _ in moves[:_MOST_NAMES])
        names += f" and {len(moves) - _MOST_NAMES} more" if len(moves) > _MOST_NAMES else ""
        if not each["has_influence"]:
            lines.append(f"{names}: has no influence on any residual here")
        elif len(moves) == 1:
            lines.append(f"{names}: no residual shows it beside the others")
        else:
            together = ", ".join(f"{amount:+.4g} {name}" for name, amount in moves[:_MOST_NAMES])
            rest = ", …" if len(moves) > _MOST_NAMES else ""
            lines.append(f"{names}: no residual changes along ({together}{rest})")
    more = len(report["undetermined"]) - len(lines) + report["undetermined_left_out"]
    return [*lines, f"… and {more} more directions"] if more else lines


def correlations(report: dict[str, Any]) -> list[str]:
    """One line for each pair."""
    lines = [
        f"{one}, {other}: {value:+.4f}" for one, other, value in report["correlations"][:MOST_LINES]
    ]
    more = len(report["correlations"]) - len(lines) + report["correlations_left_out"]
    return [*lines, f"… and {more} more; correlation() has them all"] if more else lines


def left_out(report: dict[str, Any], what: str, where: str) -> list[str]:
    """Says how many lines of the table are not shown."""
    more = max(len(report[what]) - MOST_LINES, 0) + report[f"{what}_left_out"]
    return [f"  … and {more} more {what}; {where}"] if more else []


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, last = row[0].ljust(widths[0]), row[-1]
        middle = (cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True))
        yield ("  " + "  ".join([first, *middle, last])).rstrip()
