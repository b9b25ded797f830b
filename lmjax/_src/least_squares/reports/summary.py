"""A report as a dictionary of plain Python values, from which it is printed and saved.

Formulas of the criteria, with N residuals that count, P parameters that vary and χ² = Σ r²:
AIC = N ln(χ²/N) + 2 P and BIC = N ln(χ²/N) + ln(N) P, those that lmfit documents ("Goodness-of-Fit
Statistics" in "Performing Fits and Analyzing Outputs"; H. Akaike, IEEE Trans. Autom. Control 19,
1974; G. Schwarz, Ann. Stat. 6, 1978). Both leave out a constant that all models of the same data
have in common.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from lmjax._src.arrays.structure import Structure
from lmjax._src.least_squares.reports.names import first_names
from lmjax._src.least_squares.reports.origin import Origin
from lmjax._src.least_squares.reports.undetermined import Direction, condition, undetermined
from lmjax._src.least_squares.statistics import Details
from lmjax._src.typing import NumpyArray

#: Parameters up to which a report computes standard errors and correlations, matrices (P, P).
MAX_PARAMETERS = 1000

#: Entries of J up to which it does: 256 MiB in double precision.
MAX_ENTRIES = 2**25

#: Parameters, correlations and undetermined directions that it lists at the most.
MAX_LISTED = 1000

#: Correlations that are listed are larger than this, as in lmfit.
LEAST_CORRELATION = 0.1


class Facts(NamedTuple):
    """What a report is made of; arrays of NumPy."""

    head: dict[str, Any]  #: success, status, message, counts
    structure: Structure
    flat: NumpyArray  #: (P,)
    lower: NumpyArray | None  #: (P,); None without bounds
    upper: NumpyArray | None
    origin: Origin
    cost: float
    loss: str | None  #: the name of a robust loss
    num_informative: int
    absolute_sigma: bool
    details: Details | None  #: None where there are too many numbers for them


def summary_of(facts: Facts) -> dict[str, Any]:
    """The report; what each entry is, is described at :meth:`Solution.summary`."""
    count = facts.flat.size
    names = list(facts.origin.labels or first_names(facts.structure, MAX_LISTED))[:MAX_LISTED]
    known, free = _known_and_free(facts)
    report: dict[str, Any] = dict(facts.head)
    report |= _goodness(facts, int(np.sum(free)))
    details = facts.details
    directions: list[Direction] = []
    report["condition"] = None
    if details is not None and np.isfinite(details.triangle).all():
        if not np.isfinite(details.errors).all():
            directions = undetermined(details.triangle, details.lengths, free)
        report["condition"] = math.inf if directions else condition(details.triangle)
    loose = {index for direction in directions for index in direction.indices}
    report["parameters"] = [
        _parameter(facts, names[k], k, bool(known[k]), k in loose)
        for k in range(min(count, MAX_LISTED))
    ]
    report["parameters_left_out"] = count - len(report["parameters"])
    report["undetermined"] = [
        {
            "has_influence": bool(details is not None and details.lengths[each.indices[0]] > 0),
            "moves": [
                [names[k], amount] for k, amount in zip(each.indices, each.amounts, strict=True)
            ],
        }
        for each in directions[:MAX_LISTED]
    ]
    report["undetermined_left_out"] = max(len(directions) - MAX_LISTED, 0)
    report |= _correlations(details, names)
    report["notes"] = _notes(facts, report)
    return report


def _known_and_free(facts: Facts) -> tuple[NumpyArray, NumpyArray]:
    """(known, free), (P,) each: which parameters have one value only, and which neither that nor
    rest on a bound.
    """
    if facts.lower is None or facts.upper is None:
        return np.zeros(facts.flat.shape, bool), np.ones(facts.flat.shape, bool)
    return (
        facts.lower >= facts.upper,
        (facts.flat > facts.lower) & (facts.flat < facts.upper),
    )


def _goodness(facts: Facts, varying: int) -> dict[str, Any]:
    """χ² and what is made of it."""
    chi_square, number = 2 * facts.cost, facts.num_informative
    degrees = number - varying
    plain = facts.loss is None and number > 0
    # An exact fit has no end of likelihood.
    likely = (
        number * (math.log(chi_square / number) if chi_square > 0 else -math.inf)
        if plain and not math.isnan(chi_square)
        else math.nan
    )
    total = facts.origin.total
    return {
        "cost": facts.cost,
        "chi_square": chi_square,
        "reduced_chi_square": chi_square / degrees if degrees > 0 else None,
        "r_squared": (
            1 - chi_square / float(total)
            if total is not None and facts.loss is None and float(total) > 0
            else None
        ),
        "aic": likely + 2 * varying if plain else None,
        "bic": likely + math.log(number) * varying if plain else None,
        "num_residuals": number,
        "num_params": int(facts.flat.size),
        "num_varying": varying,
        "degrees_of_freedom": degrees,
        "absolute_sigma": facts.absolute_sigma,
        "loss": facts.loss,
    }


def _parameter(facts: Facts, name: str, k: int, known: bool, loose: bool) -> dict[str, Any]:
    value = float(facts.flat[k])
    error = None if facts.details is None else float(facts.details.errors[k])
    state = "fixed" if known else "free"
    if facts.lower is not None and facts.upper is not None and not known:
        if value <= facts.lower[k]:
            state = "at its lower bound"
        elif value >= facts.upper[k]:
            state = "at its upper bound"
    if state != "free":
        error = None
    start = facts.origin.start
    return {
        "name": name,
        "value": value,
        "standard_error": error,
        "percent": None if error is None or value == 0 else 100 * error / abs(value),
        "start": None if start is None else float(start[k]),
        "state": state,
        "is_undetermined": loose,
    }


def _correlations(details: Details | None, names: list[str]) -> dict[str, Any]:
    """The largest first."""
    if details is None:
        return {"correlations": [], "correlations_left_out": 0}
    rows, columns = np.triu_indices(len(names), 1)
    values = np.asarray(details.correlation, float)[rows, columns]
    large = np.flatnonzero(np.abs(values) > LEAST_CORRELATION)
    large = large[np.argsort(-np.abs(values[large]), kind="stable")]
    return {
        "correlations": [
            [names[rows[k]], names[columns[k]], float(values[k])] for k in large[:MAX_LISTED]
        ],
        "correlations_left_out": max(large.size - MAX_LISTED, 0),
    }


def _notes(facts: Facts, report: dict[str, Any]) -> list[str]:
    """What else has to be said, in sentences."""
    notes = []
    details = facts.details
    if details is None:
        notes.append(
            f"Standard errors and correlations are left out of reports of more than "
            f"{MAX_PARAMETERS} parameters or {MAX_ENTRIES} entries of the Jacobian; "
            "standard_errors() and correlation() compute them, by matrices of as many rows."
        )
    elif not np.isfinite(details.triangle).all():
        notes.append("The Jacobian is not finite here, so that there are no standard errors.")
    elif report["degrees_of_freedom"] <= 0 and not facts.absolute_sigma:
        notes.append(
            "There are no more residuals than parameters, so that nothing is left to estimate "
            "their noise from; absolute_sigma=True takes it to be known."
        )
    if facts.loss is not None:
        notes.append(
            f"The loss is {facts.loss}: χ² is twice its sum, and AIC, BIC and R², which are of "
            "squares, are left out."
        )
    if facts.absolute_sigma:
        notes.append(
            "The residuals are taken to be in units of their known standard deviations "
            "(absolute_sigma): standard errors are not scaled by the reduced χ². AIC and BIC are "
            "N ln(χ²/N) + 2 P and N ln(χ²/N) + ln(N) P all the same."
        )
    return notes
