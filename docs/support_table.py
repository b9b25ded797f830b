"""Writes the table of layers in README.md from the registry: ``make table``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import bridge._src.module.shipped  # noqa: F401  registers the converters
from bridge._src.layers import registry
from bridge._src.operations.tables import NO_FUNCTIONS, REFUSED, TABLE

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- layers, written by make table -->\n", "<!-- end of layers -->\n"

#: Titles of the rows, by the folder below ``layers`` or the module in it; what is not named here
#: has a row of its own with the name of its module.
TITLES = {
    "core": "core",
    "einsum_dense": "core",
    "convolutional": "convolution",
    "rnn": "recurrent",
    "keras_calls": "wrappers",
    "normalization": "normalization (inference)",
    "reshaping": "shapes",
    "activation_layers": "activations (and every function of `keras.activations`)",
    "operation_layers": "functions of TensorFlow in Keras 2",
    "augmentation": "identity at inference",
    "regularization": "identity at inference",
}


def table() -> str:
    """The table of all registered classes of Keras, in Markdown."""
    rows: dict[str, list[str]] = {}
    for key in registry.supported():
        if ">" not in key:
            rows.setdefault(_title(registry.find(key)), []).append(key)
    lines = [f"| {title} | {', '.join(_folded(names))} |" for title, names in sorted(rows.items())]
    return "\n".join(["", "| layers | |", "|---|---|", *lines, _operations(), "", ""])


def _title(converter: Callable[..., Any]) -> str:
    """The row of the layers that are written where this converter is."""
    *_, folder, module = getattr(converter, "func", converter).__module__.split(".")
    own_rows = module in TITLES or folder in ("core", "layers", "operations")
    name = module if own_rows else folder
    return TITLES.get(name, name.replace("_", " "))


def _operations() -> str:
    """The row of ``keras.ops``: nearly all of them are served, so that those are named which are
    not.
    """
    refused = ", ".join(
        sorted(name.partition(".")[2] for name in REFUSED if name not in NO_FUNCTIONS)
    )
    return (
        f"| `keras.ops` in Functional models | all {len(TABLE)} classes of pure functions of "
        f"tensors; not {refused} |"
    )


def _folded(names: Iterable[str]) -> list[str]:
    """Names that differ in their number of dimensions as one: Conv1D–3D; augmentations under their
    common beginning.
    """
    ranks: dict[str, list[str]] = {}
    for name in names:
        match = re.fullmatch(r"(\w*?)([123])D(\w*)", name)
        random = name.startswith("Random")
        ranks.setdefault(
            "Random…" if random else f"{match[1]}{{}}{match[3]}" if match else name, []
        ).append(match[2] if match else "")
    return [
        name.format(f"{numbers[0]}D" if len(numbers) == 1 else f"{numbers[0]}D–{numbers[-1]}D")
        if numbers[0]
        else name
        for name, numbers in sorted(ranks.items())
    ]


def replaced(text: str) -> str:
    """``text`` of the README with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    README.write_text(replaced(README.read_text(encoding="utf-8")), encoding="utf-8")
