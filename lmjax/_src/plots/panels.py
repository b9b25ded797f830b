"""The axes that pictures are drawn on: a caller's, or those of a new figure."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np

from lmjax._src.runtime.optional import needed
from lmjax._src.typing import Array

#: Inches of a panel in a figure of several; one by itself has Matplotlib's own size.
_WIDTH, _HEIGHT, _HEIGHT_OF_SQUARE = 4.6, 4.0, 4.9
_MOST_COLUMNS = 4

#: Inches of a letter of a legend, about, and of all that stands beside its text: the handle, and
#: numbers and name of the vertical axis.
_LETTER, _BESIDE = 0.07, 1.4
#: A handle and the gap to the next column, in letters.
_HANDLE = 8
_FEWEST_LETTERS = 12
#: Inches of a line of a legend, about, and of the share of a panel's height that lines may take
#: before those that say less are left out.
_LINE, _MOST_OF_HEIGHT = 0.17, 0.4
#: Marks what a legend has room for only in large panels.
ASIDE = "lmjax-aside"
#: Inches for the number of a tick.
_TICK, _FEWEST_TICKS, _MOST_TICKS = 0.35, 3, 6
#: Between panel and legend, in heights of its letters: without and with a factor of the ticks.
_GAP, _FACTOR = 0.2, 1.6


def panels(count: int, given: Any, what: str, *, square: bool = False) -> Array:
    """Axes for ``count`` panels.

    Args:
        count: how many.
        given: a caller's axes, one or as many as needed in an array or a sequence; None for those
            of a new figure of pyplot, which notebooks show.
        what: of what there is one panel each.
        square: whether the panels are.

    Returns:
        An object array (count,).

    Raises:
        NotInstalledError: Matplotlib is not there.
        TypeError, ValueError: ``given`` are no axes, or too few or too many.
    """
    matplotlib = needed("matplotlib", "plot", "lmjax.plots")
    if given is None:
        return _new(count, square)
    axes = np.array([given] if hasattr(given, "plot") else list(given), object).ravel()
    for one in axes:
        if not isinstance(one, matplotlib.axes.Axes):
            raise TypeError(f"axes: expected Axes of Matplotlib, got {type(one).__name__}")
    if len(axes) != count:
        raise ValueError(f"axes: {count} are needed, one for each {what}, got {len(axes)}")
    return axes


def _new(count: int, square: bool) -> Array:
    from matplotlib import pyplot

    columns = min(math.ceil(math.sqrt(count)), _MOST_COLUMNS)
    rows = math.ceil(count / columns)
    height = _HEIGHT_OF_SQUARE if square else _HEIGHT
    size = (_WIDTH * columns, height * rows) if square or count > 1 else None
    figure = pyplot.figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.remove()
    return np.array(axes[:count], object)


def explain(axes: Any) -> None:
    """The legend, above the panel, where it hides no data; in as many columns as its width has
    room for, in lines that are broken where even one is too wide. A low panel has no room for what
    is marked as :data:`ASIDE`.
    """
    handles, labels = axes.get_legend_handles_labels()
    width, height = _cell(axes)
    letters = max(int((width - _BESIDE) / _LETTER), _FEWEST_LETTERS)
    labels = [_in_lines(label, letters) for label in labels]
    if _LINE * sum(1 + label.count("\n") for label in labels) > _MOST_OF_HEIGHT * height:
        kept = [number for number, one in enumerate(handles) if _gid(one) != ASIDE]
        handles, labels = ([each[number] for number in kept] for each in (handles, labels))
    longest = max((len(line) for label in labels for line in label.splitlines()), default=1)
    legend = axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=max((letters + _HANDLE) // (longest + _HANDLE), 1),
        fontsize="small",
        frameon=False,
        borderaxespad=_GAP + (_FACTOR if _has_factor(axes.yaxis) else 0.0),
    )
    for handle in legend.legend_handles:
        if hasattr(handle, "get_marker"):  # a point is to be seen, however thin a crowd of them is
            handle.set_alpha(1.0)


def _gid(handle: Any) -> Any:
    """The mark of what a legend explains; bars have none."""
    return handle.get_gid() if hasattr(handle, "get_gid") else None


def tidy_ticks(axes: Any) -> None:
    """Few ticks, with a power of ten apart where their numbers would be long."""
    room = (min(_cell(axes)) - _BESIDE / 2) / _TICK
    axes.locator_params(nbins=min(max(int(room), _FEWEST_TICKS), _MOST_TICKS))
    axes.ticklabel_format(scilimits=(-3, 5))


def _has_factor(axis: Any) -> bool:
    """Whether the ticks have a power of ten or an offset, which stands above the axis."""
    formatter = axis.get_major_formatter()
    formatter.set_locs(axis.get_majorticklocs())
    return bool(formatter.get_offset())


def _cell(axes: Any) -> tuple[float, float]:
    """The inches, in width and height, that a panel has with all that stands beside it, before its
    layout is known.
    """
    figure = axes.figure
    whole = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi  # also of subfigures
    place = axes.get_subplotspec()
    if place is None:  # the caller has said where the panel itself is
        own = axes.get_position()
        return float(own.width * whole[0]) + _BESIDE / 2, float(own.height * whole[1])
    grid = place.get_gridspec()
    return (
        float(whole[0] * len(place.colspan) / grid.ncols),
        float(whole[1] * len(place.rowspan) / grid.nrows),
    )


def _in_lines(label: str, letters: int) -> str:
    """Broken between words, and not beside an equals sign."""
    tied = label.replace(" = ", "\u00a0=\u00a0")
    return textwrap.fill(tied, letters, break_long_words=False).replace("\u00a0", " ")


def is_new(axes: Any) -> bool:
    """Whether nothing has been drawn on the axes."""
    return not axes.lines and not axes.patches
