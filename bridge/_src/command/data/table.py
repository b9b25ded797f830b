"""Training data from a table of text: which line holds names, which columns are what, and whether
the file is whole.
"""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bridge._src.command.data.columns import Columns, Roles, listed, roles
from bridge._src.command.data.text import Lines, called, opened
from bridge._src.command.failure import CommandError

#: What separates columns where --delimiter does not say.
DELIMITERS = {".csv": ",", ".tsv": "\t"}
#: What may separate them instead, by what a message calls it.
_OTHERS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
#: As pandas writes columns of them.
_TRUTH = {"True": 1.0, "False": 0.0}

Row = tuple[int, list[str]]


class Table(NamedTuple):
    """The numbers in a file, and the names of the columns."""

    x: np.ndarray  #: (N, F)
    y: np.ndarray  #: (N, T)
    features: tuple[str, ...]
    targets: tuple[str, ...]
    sample_weight: np.ndarray | None = None  #: (N,)
    remarks: tuple[str, ...] = ()  #: what is to be said of how it was read


def read_table(path: Path, columns: Columns) -> Table:
    """The table in ``path``, text in UTF-8 that may be compressed by gzip.

    Args:
        path: the file, or - for standard input.
        columns: which are what; where it leaves the header open, that is seen from the first line
            where there is only one way to read it.

    Raises:
        CommandError: when the file is damaged, may be read in two ways, lacks a column, or holds
            anything but finite numbers in one that is read.
    """
    file = called(path)
    with opened(path) as binary, closing(Lines(file, binary)) as lines:
        rows = _rows(file, lines, columns.delimiter or _delimiter(path))
        begin = list(islice(rows, 2))
        if not begin:
            raise CommandError(f"{file}: is empty")
        first = [cell.strip() for cell in begin[0][1]]
        _check_separated(file, begin)
        has_header = columns.header
        if has_header is None:
            has_header = not all(map(_is_number, first))
            if _may_be_either(first, columns, has_header):
                raise CommandError(
                    f"{file}: its first line ({listed(first)}) can be column names, as pandas "
                    "writes those of a frame without any, or the first sample; say which with "
                    "--header or --no-header"
                )
        names = tuple(first) if has_header else tuple(map(str, range(len(first))))
        found = roles(file, names, columns, has_header)
        numbers = _Numbers(file, names, found)
        for line, row in chain(begin[has_header:], rows):
            numbers.add(line, row)
        if not lines.ended and len(names) - 1 in found.used:
            numbers.check_end()
    return table_of(file, numbers.matrix(), names, found)


def table_of(file: str, matrix: np.ndarray, names: Sequence[str], found: Roles) -> Table:
    """The table whose columns ``found.used`` are those of ``matrix``."""
    at = len(found.features)
    end = at + len(found.targets)
    remark = (
        f"{file}: column {', '.join(map(str, found.nameless))} has no name and is left out, as the "
        "index that pandas writes"
    )
    return Table(
        matrix[:, :at],
        matrix[:, at:end],
        tuple(names[place] for place in found.features),
        tuple(names[place] for place in found.targets),
        None if found.sample_weight is None else matrix[:, -1],
        (remark,) if found.nameless else (),
    )


def _delimiter(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return next((sign for end, sign in DELIMITERS.items() if name.endswith(end)), ",")


def _rows(file: str, lines: Lines, delimiter: str) -> Iterator[Row]:
    """The lines that are not empty, with their numbers."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise CommandError(
            f"{file}: line {reader.line_num} is no line of a table ({error})"
        ) from None


def _number(cell: str) -> float:
    """``cell`` as a number; Python takes ``2020_01`` for one, too, which in a table is a name.

    Raises:
        ValueError: it is none.
    """
    if "_" in cell:
        raise ValueError(f"could not convert string to float: {cell!r}")
    try:
        return float(cell)
    except ValueError:
        if (truth := _TRUTH.get(cell)) is None:
            raise
        return truth


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _check_separated(file: str, begin: Sequence[Row]) -> None:
    """Refuses a first line of one column where in it and in the next one stands what separates
    columns elsewhere.
    """
    if len(begin[0][1]) == 1:
        for sign, name in _OTHERS.items():
            if all(any(sign in cell for cell in row) for _, row in begin):
                raise CommandError(
                    f"{file}: its columns seem to be separated by {name}; say --delimiter {name}, "
                    "or write it with commas between columns"
                )


def _may_be_either(first: Sequence[str], columns: Columns, is_text: bool) -> bool:
    """Whether a first line of numbers can be names: different ones, among which are those that the
    options name, or that rise or fall throughout.

    Of n numbers by chance the latter holds once in n!/2 times: from five on they are rather years
    or wavelengths; fewer have to be whole, and fewer than three what pandas writes.
    """
    if is_text or len(set(first)) < len(first):
        return False
    values = [_number(cell) for cell in first]
    ordered = all(a < b for a, b in pairwise(values)) or all(a > b for a, b in pairwise(values))
    whole = all(re.fullmatch(r"\d+", cell) for cell in first)
    return (
        bool(columns.chosen and set(columns.chosen) <= set(first))
        or (ordered and (len(first) >= 5 or (whole and len(first) >= 3)))
        or list(first) == [str(place) for place in range(len(first))]
    )


class _Numbers:
    """The numbers in some columns of a table, a row after the other."""

    def __init__(self, file: str, names: Sequence[str], found: Roles) -> None:
        self._file, self._names, self._found = file, names, found
        self._used = found.used
        self._values = array("d")
        self._last: Row = (0, [])
        self._shortest = math.inf  #: last number of a row, but for the last row's

    def add(self, line: int, row: list[str]) -> None:
        if len(row) != len(self._names):
            raise CommandError(
                f"{self._file}: line {line} has {len(row)} columns, expected {len(self._names)}"
            )
        try:
            values = [_number(row[place]) for place in self._used]
        except ValueError:
            place = next(place for place in self._used if not _is_number(row[place]))
            raise self._wrong(line, place, self._not_a_number(row[place], place)) from None
        if not all(map(math.isfinite, values)):
            place = next(at for at in self._used if not math.isfinite(_number(row[at])))
            raise self._wrong(
                line, place, f"{row[place]!r} is not finite; fill it or remove the line"
            )
        if self._found.sample_weight is not None and values[-1] < 0:
            place = self._found.sample_weight
            raise self._wrong(line, place, f"{row[place]} is no weight of a sample, below 0")
        self._values.extend(values)
        if self._last[1]:
            self._shortest = min(self._shortest, len(self._last[1][-1]))
        self._last = line, row

    def _wrong(self, line: int, place: int, reason: str) -> CommandError:
        return CommandError(f"{self._file}: line {line}, column {self._names[place]}: {reason}")

    def _not_a_number(self, cell: str, place: int) -> str:
        if not cell.strip():
            return "the cell is empty; fill it or remove the line"
        if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell):
            return f"{cell!r} is not a number; write decimals with a point"
        if place in self._found.targets:
            return f"{cell!r} is not a number; write classes as 0, 1, 2, …"
        return (
            f"{cell!r} is not a number; remove the column, or put one column of 0 and 1 for each "
            "category in its place"
        )

    def check_end(self) -> None:
        """Refuses a last line without an end whose last number is shorter than all others in its
        column: it may have been cut.
        """
        line, row = self._last
        if row and len(row[-1]) < self._shortest < math.inf:
            raise CommandError(
                f"{self._file}: line {line}, the last, has no line end, and its last number, "
                f"{row[-1]}, is shorter than those above, so that the file seems to be cut "
                "off; write it again, or end the line if it is whole"
            )

    def matrix(self) -> np.ndarray:
        """(N, number of columns used)"""
        numbers = np.frombuffer(self._values) if self._values else np.empty(0)
        return numbers.reshape(-1, len(self._used))
