"""What a comparison has found: a table, curves, and a sentence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bridge._src.comparison.curve import Curve
from bridge._src.comparison.verdict import Row, label, verdict
from bridge._src.typing import FilePath
from lmjax._src.runtime.optional import needed

#: A method, and Adam's learning rate.
Key = tuple[str, float | None]

_COLORS = ("#0072b2", "#d55e00", "#009e73")  # Okabe and Ito's, told apart by all eyes


class Comparison:
    """What :func:`compare` found; prints as a table with a sentence.

    Args:
        curves: the runs of each method by its name and learning rate, one for each start.
        seconds: that each run had.
        remarks: what is to be known of them.

    Attributes:
        table: a dictionary for each method, and for each learning rate of Adam: ``method``,
            ``rate`` (None without), ``chosen`` (False for the rates of Adam that lost to another),
            medians over the starts of ``loss`` and, with validation data, ``val_loss`` of the
            weights that a fit would return (those of the least validation loss, else of the least
            loss), of the ``seconds`` to these, of the ``least_loss`` that was reached in training,
            and of ``steps`` in all; ``lowest`` and ``highest`` of the starts' validation losses
            (losses without validation data); ``best_in``, the number of ``starts`` at which this
            was the best of the chosen methods.
        verdict: the sentence.
        remarks: what is to be known of the runs: starts, clocks, what was left out.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> x = np.linspace(-1, 1, 40)[:, None]
        >>> found = lmjax.keras.compare(
        ...     model, x, 3 * x + 1, validation_split=0.25, seconds=0.1, seeds=2, verbose=0
        ... )
        >>> [row["rate"] for row in found.table]
        [None, 0.001, 0.003, 0.01, 0.03, None]
        >>> found.remarks[0]  # doctest: +ELLIPSIS
        "2 starts (the model's own weights, and 1 more: new draws from its initializers); all in ...
        >>> found.plot("losses.png")  # doctest: +ELLIPSIS
        <Figure size 1000x400 with 2 Axes>
    """

    def __init__(self, curves: dict[Key, list[Curve]], seconds: float, remarks: list[str]) -> None:
        self._curves, self._seconds = curves, seconds
        self.table = table_of(curves)
        self.verdict = verdict(self.table, seconds)
        self.remarks = remarks

    def __repr__(self) -> str:
        """The table, the sentence and the remarks."""
        validated = "val_loss" in self.table[0]
        names = ["loss", *(["val_loss"] if validated else []), "lowest", "highest"]
        width = max(len(label(row)) for row in self.table)
        head = f"{'':<{width + 2}}" + "".join(f"{name:>11}" for name in (*names, "seconds"))
        lines = [f"{head}{'steps':>9}  best at"]
        for row in self.table:
            numbers = "".join(f"{row[name]:>11.4g}" for name in names)
            best = f"{row['best_in']} of {row['starts']}" if row["chosen"] else ""
            mark = "* " if row["chosen"] else "  "
            lines.append(
                f"{mark}{label(row):<{width}}{numbers}{row['seconds']:>11.3g}"
                f"{row['steps']:>9.0f}  {best}".rstrip()
            )
        return "\n".join([*lines, "", self.verdict, *self.remarks])

    def plot(self, file: FilePath | None = None) -> Any:
        """Draws the losses of the chosen methods against seconds, a line for each start.

        Args:
            file: where to write the picture to, by the end of its name a PNG, PDF or SVG; None for
                nowhere.

        Returns:
            The ``matplotlib.figure.Figure``.

        Raises:
            ImportError: Matplotlib is missing; the message says how to install it.
        """
        needed("matplotlib", "plot", "the picture of a comparison")
        # draws to memory; no window, no global state
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        chosen = [row for row in self.table if row["chosen"]]
        panels = ["losses", *(["val_losses"] if "val_loss" in self.table[0] else [])]
        figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
        FigureCanvasAgg(figure)
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, name in zip(every, panels, strict=True):
            self._draw(axes, chosen, name)
        figure.axes[0].legend()
        if file is not None:
            figure.savefig(file, dpi=150)
        return figure

    def _draw(self, axes: Any, chosen: list[Row], name: str) -> None:
        """A panel of the picture, of one of the lists of :class:`Curve`."""
        lowest = math.inf
        for row, color in zip(chosen, _COLORS, strict=False):
            for number, curve in enumerate(self._curves[row["method"], row["rate"]]):
                values = getattr(curve, name)[1:]  # time zero is nowhere on this axis
                lowest = min([lowest, *values])
                called = label(row) if number == 0 else None
                axes.plot(curve.seconds[1:], values, color=color, linewidth=1.2, label=called)
        axes.set(
            xlabel="seconds (without compilation)",
            ylabel="training loss" if name == "losses" else "validation loss",
            xscale="log",
            yscale="log" if lowest > 0 else "linear",
        )
        axes.grid(alpha=0.3)


def table_of(curves: dict[Key, list[Curve]]) -> list[Row]:
    """See :attr:`Comparison.table`; of several rates of one method the one with the least median
    of the deciding loss is chosen.
    """
    rows = {key: _row(key, runs) for key, runs in curves.items()}
    decide = "val_loss" if next(iter(curves.values()))[0].is_validated else "loss"
    for key, row in rows.items():
        rivals = [other for (method, _), other in rows.items() if method == key[0]]
        row["chosen"] = row is min(rivals, key=lambda other: other[decide])
    chosen = [key for key, row in rows.items() if row["chosen"]]
    for number in range(len(curves[chosen[0]])):
        best = min(chosen, key=lambda key: _deciding(curves[key][number]))
        rows[best]["best_in"] += 1
    return list(rows.values())


def _deciding(curve: Curve) -> float:
    return (curve.val_losses if curve.is_validated else curve.losses)[curve.kept]


def _row(key: Key, runs: list[Curve]) -> Row:
    def median(values: list[float]) -> float:
        return float(np.median(values))

    deciding = [_deciding(run) for run in runs]
    row: Row = {"method": key[0], "rate": key[1]}
    row["loss"] = median([run.losses[run.kept] for run in runs])
    if runs[0].is_validated:
        row["val_loss"] = median(deciding)
    return row | {
        "least_loss": median([run.least_loss for run in runs]),
        "lowest": min(deciding),
        "highest": max(deciding),
        "seconds": median([run.seconds[run.kept] for run in runs]),
        "steps": median([run.steps[-1] for run in runs]),
        "starts": len(runs),
        "best_in": 0,
    }
