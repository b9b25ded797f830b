"""Training data from a ``.csv`` file: which line holds names, which columns are targets, and
whether the file is whole.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bridge._src.command.failure import CommandError

#: What pandas calls a column without a name, when it has read one from a file.
_UNNAMED = re.compile(r"Unnamed: \d+(_level_\d+)?")
#: Names that a message lists.
_LISTED = 12

Row = tuple[int, list[str]]


class Table(NamedTuple):
    """The numbers in a file, and the names of the columns."""

    x: np.ndarray
    y: np.ndarray
    features: tuple[str, ...]
    targets: tuple[str, ...]


def read_table(path: Path, targets: Sequence[str], header: bool | None = None) -> Table:
    """The table in ``path``.

    Args:
        path: the file.
        targets: the columns to predict, by name or, without a header, by position from 0; all
            others are inputs.
        header: whether the first line holds the names; None to see it from the line, where there is
            only one way to read it.

    Raises:
        CommandError: when the file is damaged, may be read in two ways, lacks a column, or holds
            anything but finite numbers.
    """
    if not targets:
        raise CommandError(
            f"{path}: say with --target COLUMN which column(s) the model is to predict"
        )
    rows, whole = _rows(path)
    first = [cell.strip() for cell in rows[0][1]]
    if header is None:
        header = not all(map(_is_number, first))
        if not header and _may_be_names(first, targets):
            raise CommandError(
                f"{path}: its first line ({listed(first)}) can be column names, as pandas "
                "writes those of a frame without any, or the first sample; say which with "
                "--header or --no-header"
            )
    names = tuple(first) if header else tuple(str(position) for position in range(len(first)))
    if header:
        _check_named(path, names)
        rows = rows[1:]
    chosen = _positions(path, names, targets, header)
    table = _numbers(path, names, set(chosen), rows)
    if not whole:
        _check_last_line(path, rows)
    is_target = np.zeros(len(names), bool)
    is_target[chosen] = True
    if is_target.all():
        raise CommandError(f"{path}: every column is a target; there is none left to predict from")
    others = np.flatnonzero(~is_target)
    return Table(
        table[:, others],
        table[:, chosen],
        tuple(names[i] for i in others),
        tuple(names[i] for i in chosen),
    )


def _rows(path: Path) -> tuple[list[Row], bool]:
    """The lines that are not empty, with their numbers, and whether the last one is ended."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(line, row) for line, row in enumerate(csv.reader(file), 1) if row]
    except csv.Error as error:
        raise CommandError(f"{path}: is no .csv file of numbers ({error})") from None
    if not rows:
        raise CommandError(f"{path}: is empty")
    with path.open("rb") as binary:
        binary.seek(-1, 2)
        return rows, binary.read(1) in b"\r\n"


def _number(cell: str) -> float:
    """``cell`` as a number; Python takes ``2020_01`` for one, too, which in a table is a name.

    Raises:
        ValueError: it is none.
    """
    if "_" in cell:
        raise ValueError(f"could not convert string to float: {cell!r}")
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _may_be_names(first: Sequence[str], targets: Sequence[str]) -> bool:
    """Whether a first line of numbers can be names: different ones, among which the targets are, or
    that rise or fall throughout.

    Of n numbers by chance the latter holds once in n!/2 times: from five on they are rather years
    or wavelengths; fewer have to be whole.
    """
    if len(set(first)) < len(first):
        return False
    values = [_number(cell) for cell in first]
    ordered = all(a < b for a, b in pairwise(values)) or all(a > b for a, b in pairwise(values))
    whole = all(re.fullmatch(r"\d+", cell) for cell in first)
    return set(targets) <= set(first) or (
        ordered and (len(first) >= 5 or (whole and len(first) >= 3))
    )


def _check_named(path: Path, names: Sequence[str]) -> None:
    for position, name in enumerate(names):
        if not name or _UNNAMED.fullmatch(name):
            raise CommandError(
                f"{path}: column {position}, counted from 0, has no "
                f"name{f' ({name})' if name else ''}, as the index that pandas writes; write "
                "the file with to_csv(path, index=False), or name the column if the model "
                "takes it"
            )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise CommandError(f"{path}: more than one column is called {listed(sorted(twice))}")


def _positions(
    path: Path, names: Sequence[str], targets: Sequence[str], has_header: bool
) -> list[int]:
    places = {name: position for position, name in enumerate(names)}
    unknown = [target for target in targets if target not in places]
    if unknown:
        kind = (
            "columns"
            if has_header
            else "no header line (if it has one, say --header), so columns are numbered from 0:"
        )
        hint = (
            "; expected commas between columns"
            if len(names) == 1 and set(names[0]) & {";", "\t"}
            else ""
        )
        raise CommandError(
            f"{path}: no column {', '.join(map(repr, unknown))}; it has {kind} "
            f"{listed(names)}{hint}"
        )
    return [places[target] for target in dict.fromkeys(targets)]


def listed(names: Sequence[str]) -> str:
    """The names, the first of many, for a message."""
    return ", ".join(names[:_LISTED]) + (
        f", … ({len(names)} in all)" if len(names) > _LISTED else ""
    )


def _numbers(path: Path, names: Sequence[str], chosen: set[int], rows: list[Row]) -> np.ndarray:
    table = np.empty((len(rows), len(names)))
    for index, (line, row) in enumerate(rows):
        if len(row) != len(names):
            raise CommandError(f"{path}: line {line} has {len(row)} columns, expected {len(names)}")
        try:
            table[index] = [_number(cell) for cell in row]
        except ValueError:
            column = next(position for position, cell in enumerate(row) if not _is_number(cell))
            reason = _wrong_cell(row[column], column in chosen)
            raise CommandError(f"{path}: line {line}, column {names[column]}: {reason}") from None
        if not np.isfinite(table[index]).all():
            column = int(np.argmin(np.isfinite(table[index])))
            raise CommandError(
                f"{path}: line {line}, column {names[column]}: {row[column]!r} is not "
                "finite; fill it or remove the line"
            )
    return table


def _wrong_cell(cell: str, is_target: bool) -> str:
    if not cell.strip():
        return "the cell is empty; fill it or remove the line"
    if is_target:
        return f"{cell!r} is not a number; write classes as 0, 1, 2, …"
    return (
        f"{cell!r} is not a number; remove the column, or put one column of 0 and 1 for each "
        "category in its place"
    )


def _check_last_line(path: Path, rows: list[Row]) -> None:
    """Refuses a last line without an end whose last number is shorter than all others in its
    column: it may have been cut.
    """
    lengths = [len(row[-1]) for _, row in rows]
    if len(rows) > 1 and lengths[-1] < min(lengths[:-1]):
        raise CommandError(
            f"{path}: line {rows[-1][0]}, the last, has no line end, and its last number, "
            f"{rows[-1][1][-1]}, is shorter than those above, so that the file seems to be cut "
            "off; write it again, or end the line if it is whole"
        )
