"""A plain sentence on which method to use, from the table of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Methods by their names in the table.
LEVENBERG_MARQUARDT, ADAM, LBFGS = "Levenberg-Marquardt", "Adam", "L-BFGS"

#: Losses that differ by less are taken for equal.
_EQUAL = 0.01

Row = dict[str, Any]


def label(row: Row) -> str:
    """A method with its rate."""
    return row["method"] if row["rate"] is None else f"{row['method']} (rate {row['rate']:g})"


def verdict(table: Sequence[Row], seconds: float) -> str:
    """Which method to use, and why.

    Held-out data decide where there are any: the method with the least median of their loss is
    named, unless another's is within a hundredth of it, or it is best at no more than half of the
    starts.

    Args:
        table: as :attr:`Comparison.table`.
        seconds: that each method had.
    """
    rows = [row for row in table if row["chosen"]]
    validated = "val_loss" in rows[0]
    name = "val_loss" if validated else "loss"
    kind = "loss on the held-out data" if validated else "training loss"
    best, *others = sorted(rows, key=lambda row: row[name])
    numbers = " and ".join(f"{row[name]:.4g} with {label(row)}" for row in others)
    starts = f"{best['best_in']} of {best['starts']} starts"
    found = f"{best[name]:.4g} after {seconds:g} s (median of the starts), against {numbers}"
    if _is_clear(best, others, name):
        said = f"Use {label(best)}: its {kind} is {found}; it is best at {starts}."
    else:
        said = (
            f"No method is clearly best here: {label(best)} has a {kind} of {found}, and is best "
            f"at {starts}.{_behind(best, others, name)}"
        )
    return said + _caution(best, rows, validated)


def _is_level(row: Row, best: Row, name: str) -> bool:
    return bool(row[name] - best[name] <= _EQUAL * abs(best[name]))


def _is_clear(best: Row, others: Sequence[Row], name: str) -> bool:
    return 2 * best["best_in"] > best["starts"] and not any(
        _is_level(row, best, name) for row in others
    )


def _behind(best: Row, others: Sequence[Row], name: str) -> str:
    """Who is not among those that share the first place, where some do."""
    behind = [label(row) for row in others if not _is_level(row, best, name)]
    if len(behind) in (0, len(others)):
        return ""
    return f" {' and '.join(behind)} {'is' if len(behind) == 1 else 'are'} behind."


def _caution(best: Row, rows: Sequence[Row], validated: bool) -> str:
    """What the choice leaves open: a training loss that held-out data do not confirm, or no
    held-out data.
    """
    if not validated:
        return (
            " How the models do on other data was not looked at: pass validation data before you "
            "choose by this."
        )
    lowest = min(rows, key=lambda row: row["least_loss"])
    if lowest["least_loss"] >= (1 - _EQUAL) * best["least_loss"]:
        return ""
    return (
        f" {label(lowest)} reaches a lower training loss ({lowest['least_loss']:.4g}, against "
        f"{best['least_loss']:.4g}), which the held-out data do not reward: the model has more "
        "freedom than these data can settle; regularize it, make it smaller, or end the training "
        "early (patience)."
    )
