"""Which columns of a table are inputs, targets and weights, as the options have it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from bridge._src.command.failure import CommandError

#: What pandas calls a column without a name, when it has read one from a file.
_UNNAMED = re.compile(r"Unnamed: \d+(_level_\d+)?(\.\d+)?")
#: Names that a message lists.
_LISTED = 12


class Columns(NamedTuple):
    """What the options say of the columns of a table, by name or, without a header, by position
    from 0.
    """

    targets: tuple[str, ...] = ()
    features: tuple[str, ...] = ()  #: none for all others
    ignore: tuple[str, ...] = ()
    sample_weight: str | None = None
    header: bool | None = None  #: None to see it from the first line
    delimiter: str | None = None  #: None for that of the file's suffix
    has_targets: bool = True  #: False where a model predicts, and data may come without

    @property
    def chosen(self) -> tuple[str, ...]:
        """All that are named."""
        weight = () if self.sample_weight is None else (self.sample_weight,)
        return (*self.targets, *self.features, *self.ignore, *weight)

    def given(self) -> list[str]:
        """The options that are for tables only, as they are written."""
        return [
            option
            for option, value in (
                ("--target", self.targets),
                ("--features", self.features),
                ("--ignore", self.ignore),
                ("--delimiter", self.delimiter),
            )
            if value
        ] + ["--no-header" if self.header is False else "--header"] * (self.header is not None)


class Roles(NamedTuple):
    """The places of the columns that are read."""

    features: tuple[int, ...]
    targets: tuple[int, ...]
    sample_weight: int | None
    nameless: tuple[int, ...]  #: columns in front that were left out, for they have no names

    @property
    def used(self) -> list[int]:
        """All of them, in this order."""
        weight = () if self.sample_weight is None else (self.sample_weight,)
        return [*self.features, *self.targets, *weight]


def roles(file: str, names: Sequence[str], columns: Columns, has_header: bool) -> Roles:
    """What each of the columns called ``names`` is.

    Raises:
        CommandError: a column is missing, there twice or without a name, or serves twice; ``file``
            is what the message calls the file.
    """
    if columns.has_targets and not columns.targets:
        raise CommandError(
            f"{file}: say with --target COLUMN which column(s) the model is to predict; it has "
            f"{listed(names)}"
        )
    places: dict[str, int] = {name: place for place, name in enumerate(names) if name}
    _check_apart(file, columns)
    aside = {*columns.targets, *columns.ignore, columns.sample_weight}
    if not columns.has_targets:  # which may be there, for all that
        columns = columns._replace(targets=())
    _check_known(file, names, places, columns, has_header)
    targets = tuple(map(places.__getitem__, dict.fromkeys(columns.targets)))
    weight = None if columns.sample_weight is None else places[columns.sample_weight]
    first_named = next((at for at, name in enumerate(names) if not _is_nameless(name)), len(names))
    nameless = tuple(at for at in range(first_named) if names[at] not in columns.chosen)
    if columns.features:
        features, nameless = tuple(map(places.__getitem__, columns.features)), ()
    else:
        features = tuple(
            at for at, name in enumerate(names) if name not in aside and at not in nameless
        )
    found = Roles(features, targets, weight, nameless)
    _check_names(file, names, found, columns)
    if not features:
        raise CommandError(
            f"{file}: every column is a target, a weight or left out; there is none left to "
            "predict from"
        )
    return found


def _is_nameless(name: str) -> bool:
    return not name or _UNNAMED.fullmatch(name) is not None


def _check_known(
    file: str, names: Sequence[str], places: dict[str, int], columns: Columns, has_header: bool
) -> None:
    unknown = [name for name in dict.fromkeys(columns.chosen) if name not in places]
    if unknown:
        kind = (
            "columns"
            if has_header
            else "no header line (if it has one, say --header), so columns are numbered from 0:"
        )
        raise CommandError(
            f"{file}: no column {', '.join(map(repr, unknown))}; it has {kind} {listed(names)}"
        )


def _check_apart(file: str, columns: Columns) -> None:
    uses: dict[str, set[str | None]] = {
        "--target": set(columns.targets),
        "--features": set(columns.features),
        "--ignore": set(columns.ignore),
        "--sample-weight": {columns.sample_weight} - {None},
    }
    for name in columns.chosen:
        options = [option for option, chosen in uses.items() if name in chosen]
        if len(options) > 1:
            raise CommandError(
                f"{file}: column {name!r} is given to {' and '.join(options)}; it can be one only"
            )
    twice = [name for name, count in Counter(columns.features).items() if count > 1]
    if twice:
        raise CommandError(f"--features: {listed(twice)} is given twice")


def _check_names(file: str, names: Sequence[str], found: Roles, columns: Columns) -> None:
    for place in found.used:
        name = names[place]
        if _is_nameless(name) and name not in columns.chosen:
            raise CommandError(
                f"{file}: column {place}, counted from 0, has no name{f' ({name})' if name else ''}"
                "; name it if the model takes it, or name with --features those that it takes"
            )
    counts = Counter(names)
    twice = sorted({names[place] for place in found.used if counts[names[place]] > 1})
    if twice:
        raise CommandError(f"{file}: more than one column is called {listed(twice)}")


def listed(names: Sequence[str]) -> str:
    """The names, the first of many, for a message."""
    return ", ".join(names[:_LISTED]) + (
        f", … ({len(names)} in all)" if len(names) > _LISTED else ""
    )
