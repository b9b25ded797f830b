"""A converted model as a table in plain text."""

from __future__ import annotations

from collections.abc import Iterator

from bridge._src.description.graph import LayerGraph
from bridge._src.description.visible import one_line
from bridge._src.description.weights import WeightEntry, WeightTable
from bridge._src.layers.base import KerasLayer
from bridge._src.module.keras_graph import KerasGraph

_HEADER = ("layer", "Keras class", "Flax module", "weights", "params", "trainable")


def table_of(graph: LayerGraph, module: KerasGraph, table: WeightTable) -> str:
    """One line per layer: class, Flax module, weights with their shapes, count of numbers, how many
    are trained.
    """
    rows, modules = [], dict(_modules(module))
    by_prefix: dict[tuple[str, ...], list[WeightEntry]] = {}
    for entry in table:
        for length in range(1, len(entry.path)):
            by_prefix.setdefault(entry.path[:length], []).append(entry)
    for path, record in graph.records():
        entries = by_prefix.get(path, [])
        own = [] if record.graph is not None else entries
        shapes = ", ".join(
            f"{'/'.join(entry.path[len(path) :])}{list(entry.shape)}"
            f"{'' if entry.trainable else ' (frozen)'}"
            for entry in own
        )
        counts = (
            sum(_size(entry.shape) for entry in chosen)
            for chosen in (entries, [entry for entry in entries if entry.trainable])
        )
        total, trained = counts
        layer = type(modules[path]).__name__
        name, class_name = "  " * (len(path) - 1) + one_line(path[-1]), one_line(record.class_name)
        rows.append(
            (name, class_name, layer, shapes, f"{total:,}", f"{trained:,}" if total else "")
        )
    widths = [max(len(row[column]) for row in [_HEADER, *rows]) for column in range(len(_HEADER))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [_HEADER, *rows]
    ]
    inputs = ", ".join(f"{spec.name} {spec} {spec.dtype}" for spec in graph.inputs)
    total = sum(_size(entry.shape) for entry in table)
    rule = "-" * max(map(len, lines))
    return "\n".join(
        [
            f"{graph.name}: {inputs}",
            rule,
            lines[0],
            rule,
            *lines[1:],
            rule,
            f"{total:,} numbers, {table.num_params:,} of them trainable",
        ]
    )


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _modules(
    module: KerasGraph, prefix: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], KerasLayer]]:
    """The layers of a model and of models within it by their paths."""
    for name, layer in module.children().items():
        yield (*prefix, name), layer
        if isinstance(layer, KerasGraph):
            yield from _modules(layer, (*prefix, name))
