"""Loss against seconds, as a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bridge._src.command.demonstration.adam import Curve


def save(path: Path, curves: Mapping[str, Sequence[Curve]]) -> None:
    """Draws a panel for each problem with the curves of all fits, and writes it to ``path``."""
    # Draws to memory; no window, no global state.
    from matplotlib.backends.backend_agg import (
        FigureCanvasAgg,
    )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(curves), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, fits) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        for fit in fits:
            axes.plot(fit.seconds, fit.losses, label=fit.label)
        axes.set(
            title=name, xlabel="seconds (without compilation)", ylabel="training loss", yscale="log"
        )
        axes.legend()
    figure.savefig(path, dpi=150)
