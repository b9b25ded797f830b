"""The errors of a fitted model as a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lmjax._src.plots.pairs import pairs_of
from lmjax._src.plots.panels import explain, is_new, panels, tidy_ticks
from lmjax._src.typing import Array, PyTree

#: Bins that a histogram has at least and at most, before their width is rounded down; MATLAB's
#: ``ploterrhist`` has 20.
_FEWEST_BINS, _MOST_BINS = 20, 60
#: Marks the bars, whose bins those drawn later take over.
_BARS = "lmjax-errors"


def error_histogram(
    y: PyTree,
    outputs: PyTree,
    *,
    names: str | Sequence[str] | None = None,
    units: str | Sequence[str] | None = None,
    label: str | None = None,
    axes: Any = None,
) -> Array:
    """Draws how often targets - outputs are how large, MATLAB's ``ploterrhist``.

    The legend has the mean and the standard deviation of the errors. Zero is the edge of a bin.
    What is drawn later on the same axes takes the bins of the first.

    Args:
        y: see :func:`lmjax.plots.parity`, as for the others.
        outputs: what the model says.
        names: of the outputs.
        units: of the outputs.
        label: what these samples are called in the legend.
        axes: Matplotlib's Axes, one for each output; None for a new figure.

    Returns:
        An array of the Axes, a panel each.

    Raises:
        ImportError, TypeError, ValueError: as for :func:`lmjax.plots.parity`.

    Sources: the width of bins, before it is rounded: D. Freedman, P. Diaconis, "On the histogram as
        a density estimator: L₂ theory", Zeitschrift für Wahrscheinlichkeitstheorie 57, 1981.

    Example:
        >>> import matplotlib
        >>> matplotlib.use("Agg")  # no window
        >>> import numpy as np
        >>> import lmjax
        >>> errors = np.random.default_rng(0).normal(size=1000)
        >>> (panel,) = lmjax.plots.error_histogram(errors, np.zeros(1000), units="mm")
        >>> sum(int(bar.get_height()) for bar in panel.patches), panel.get_xlabel()
        (1000, 'target − output (mm)')
    """
    pairs = pairs_of(y, outputs, names, units)
    found = panels(len(pairs), axes, "output")
    for panel, pair in zip(found, pairs, strict=True):
        fresh, errors = is_new(panel), pair.errors
        if errors.size:
            mean, spread = pair.number(errors.mean()), pair.number(errors.std())
            said = pair.said(f"mean {mean}, standard deviation {spread}", label)
            edges = _edges(errors, _width_of(panel))
            counts, _ = np.histogram(errors, edges)
            panel.bar(
                edges[:-1], counts, np.diff(edges), align="edge", alpha=0.6, label=said, gid=_BARS
            )
        else:
            panel.plot([], [], linestyle="none", label=pair.said("no errors", label))
        if fresh:
            panel.axvline(0, color="black", linewidth=0.8)
        panel.set(xlabel=pair.label("target − output"), ylabel="samples")
        tidy_ticks(panel)
        panel.yaxis.get_major_locator().set_params(integer=True)
        explain(panel)
    return found


def _width_of(panel: Any) -> float | None:
    """The width of the bins that a panel has already."""
    widths = [bar.get_width() for bar in panel.patches if bar.get_gid() == _BARS]
    return float(widths[0]) if widths else None


def _edges(errors: Array, width: float | None) -> Array:
    """Multiples of a width that is 1, 2 or 5 times a power of ten; of ``width``, if there is one,
    unless that made bins without number.
    """
    low, high = float(errors.min()), float(errors.max())
    if width is None or (high - low) / width > 100 * _MOST_BINS:
        width = _round(_wanted(errors, high - low))
    # No finer than the numbers themselves.
    width = max(width, 4 * float(np.spacing(max(abs(low), abs(high)))))
    return width * np.arange(np.floor(low / width), np.floor(high / width) + 2)


def _wanted(errors: Array, span: float) -> float:
    if not span > 0:
        return abs(float(errors[0])) / 10 or 1.0
    quarters = np.quantile(errors, [0.25, 0.75])
    width = 2 * float(quarters[1] - quarters[0]) / np.cbrt(len(errors))
    return float(np.clip(width, span / _MOST_BINS, span / _FEWEST_BINS))


def _round(width: float) -> float:
    """Down to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(width))
    return float(power * max(digit for digit in (1, 2, 5) if digit <= max(width / power, 1.0)))
