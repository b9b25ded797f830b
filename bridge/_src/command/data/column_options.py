"""The options of commands that read tables: which columns are what, and how they are written."""

from __future__ import annotations

import argparse
import csv
from typing import Any

from bridge._src.command.data.columns import Columns

DATA_HELP = (
    "a .npz file with arrays x and y (for a model with several inputs an array of the name of "
    "each, and y), or a table (.csv, .tsv, either with .gz, .parquet; - for a .csv table from "
    "standard input); streamed, for data larger than memory: an .h5 file with datasets x and y, "
    "or a folder with x.npy and y.npy"
)
_SIGNS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}


def _names(text: str) -> list[str]:
    """The names in ``a,b``; one with a comma in it stands in double quotes, as in a .csv file."""
    try:
        (row,) = csv.reader([text], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError):
        row = []
    names = [name.strip() for name in row]
    if not names or not all(names):
        raise argparse.ArgumentTypeError(f"expected names separated by commas, given {text!r}")
    return names


def _sign(text: str) -> str:
    sign = _SIGNS.get(text, text)
    if len(sign) != 1 or sign in '"\r\n\0':
        raise argparse.ArgumentTypeError(
            f"expected one character, {', '.join(name for name in _SIGNS if name.isalpha())}, "
            f"given {text!r}"
        )
    return sign


def add_column_options(
    parser: argparse.ArgumentParser, target: str, with_weights: bool = True
) -> None:
    """Adds the options.

    Args:
        parser: of a command.
        target: what --target is for in it.
        with_weights: whether it takes weights of samples.
    """
    group = parser.add_argument_group("columns of a table")
    names: dict[str, Any] = {
        "metavar": "COLUMN,…",
        "type": _names,
        "action": "extend",
        "default": [],
    }
    group.add_argument("--target", **names, help=target)
    group.add_argument(
        "--features", **names, help="the inputs, in the model's order (default: all other columns)"
    )
    group.add_argument("--ignore", **names, help="columns that are not read, such as an index")
    if with_weights:
        group.add_argument(
            "--sample-weight",
            metavar="COLUMN",
            help="column with the weights of the samples, or array, dataset or .npy file of that "
            "name beside x and y",
        )
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether the first line holds column names; without them columns go by their "
        "positions, from 0 (default: seen from the line)",
    )
    group.add_argument(
        "--delimiter",
        metavar="SIGN",
        type=_sign,
        help="what stands between columns: one character, or tab, comma, semicolon, space "
        "(default: a comma, in .tsv a tab)",
    )


def columns_of(options: argparse.Namespace, has_targets: bool = True) -> Columns:
    """What the options say."""
    return Columns(
        tuple(dict.fromkeys(options.target)),
        tuple(options.features),
        tuple(dict.fromkeys(options.ignore)),
        getattr(options, "sample_weight", None),
        options.header,
        options.delimiter,
        has_targets,
    )
