"""Outputs of a fitted model and their errors as points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lmjax._src.plots.pairs import Pair, pairs_of, plain
from lmjax._src.plots.panels import ASIDE, explain, is_new, panels, tidy_ticks
from lmjax._src.typing import Array, PyTree

#: Of more points than these an image is drawn where a file would list every one.
_MANY = 2000
#: Below this many, points are drawn in full ink; above it, the more the thinner.
_CROWD = 500


def parity(
    y: PyTree,
    outputs: PyTree,
    *,
    names: str | Sequence[str] | None = None,
    units: str | Sequence[str] | None = None,
    label: str | None = None,
    axes: Any = None,
) -> Array:
    """Draws outputs against targets, MATLAB's ``plotregression``: points on the diagonal are exact.

    The legend has the coefficient of determination R² = 1 - Σ(y - f)²/Σ(y - ȳ)², the root mean
    squared error, and the least-squares line through the points. Samples with an infinity or NaN
    are left out, and counted there. Drawn twice on the same axes, with a ``label`` for each, it
    compares training and validation data.

    Args:
        y: targets (N,), (N, …, outputs), or for models with several outputs a list or dictionary
            of such; a table of pandas has the names, too. Arrays of any real dtype, also of JAX or
            TensorFlow. Every output gets a panel, in which every step of a sequence is a point.
        outputs: what the model says, such as ``model.predict(x)``, in the structure of ``y``.
        names: of the outputs.
        units: of the outputs.
        label: what these samples are called in the legend.
        axes: Matplotlib's Axes, one for each output; None for a new figure.

    Returns:
        An array of the Axes, a panel each; ``axes[0].figure.savefig("parity.png")`` keeps them.

    Raises:
        ImportError: Matplotlib is not installed; the extra ``lmjax[plot]`` has it.
        TypeError, ValueError: targets and outputs do not fit one another, or are too many.

    Example:
        >>> import matplotlib
        >>> matplotlib.use("Agg")  # no window
        >>> import numpy as np
        >>> import lmjax
        >>> y = np.array([1.0, 2.0, 3.0, 4.0])
        >>> (panel,) = lmjax.plots.parity(y, y + [0.1, -0.1, -0.1, 0.1], names="height", units="m")
        >>> panel.get_xlabel(), panel.get_ylabel()
        ('height: target (m)', 'height: output (m)')
        >>> panel.get_legend().get_texts()[0].get_text()
        'R² = 0.992, RMSE = 0.1 m'
    """
    pairs = pairs_of(y, outputs, names, units)
    found = panels(len(pairs), axes, "output", square=True)
    for panel, pair in zip(found, pairs, strict=True):
        fresh = is_new(panel)
        points = _points(panel, pair.targets, pair.outputs, pair.said(_quality(pair), label))
        _line(panel, pair, points.get_color())
        low, high = _limits(pair, () if fresh else panel.get_xlim())
        panel.set(
            xlim=(low, high),
            ylim=(low, high),
            xlabel=pair.label("target"),
            ylabel=pair.label("output"),
        )
        panel.set_aspect("equal", adjustable="box", anchor="W")
        tidy_ticks(panel)
        if fresh:
            panel.axline((0, 0), slope=1, color="black", linewidth=0.8, linestyle=":", zorder=3)
        explain(panel)
    return found


def residuals(
    y: PyTree,
    outputs: PyTree,
    *,
    names: str | Sequence[str] | None = None,
    units: str | Sequence[str] | None = None,
    label: str | None = None,
    axes: Any = None,
) -> Array:
    """Draws targets - outputs against outputs: what a good fit has left looks the same everywhere.

    A bend says that the model lacks something, a funnel that the errors are not of one size
    (weights, or a logarithm of the targets, would help). The dashed lines are two root mean squared
    errors from zero, between which about 95 % of normally distributed errors lie.

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

    Example:
        >>> import matplotlib
        >>> matplotlib.use("Agg")  # no window
        >>> import numpy as np
        >>> import lmjax
        >>> y = {"height": np.array([1.0, 2.0, 3.0]), "width": np.array([1.0, 1.0, 2.0])}
        >>> outputs = {name: 1.1 * values for name, values in y.items()}
        >>> panels = lmjax.plots.residuals(y, outputs)
        >>> [panel.get_xlabel() for panel in panels]
        ['height: output', 'width: output']
    """
    pairs = pairs_of(y, outputs, names, units)
    found = panels(len(pairs), axes, "output")
    for panel, pair in zip(found, pairs, strict=True):
        fresh = is_new(panel)
        error = _root_mean_square(pair.errors)
        said = pair.said(f"RMSE = {pair.number(error)}", label)
        points = _points(panel, pair.outputs, pair.errors, said)
        if fresh:
            panel.axhline(0, color="black", linewidth=0.8, zorder=0)
        if pair.errors.size:
            style = {"color": points.get_color(), "linestyle": "--", "linewidth": 0.8}
            panel.axhline(2 * error, label="± 2 RMSE", gid=ASIDE, **style)
            panel.axhline(-2 * error, **style)
        panel.set(xlabel=pair.label("output"), ylabel=pair.label("target − output"))
        tidy_ticks(panel)
        explain(panel)
    return found


def _points(panel: Any, x: Array, values: Array, label: str) -> Any:
    alpha = float(np.clip(np.sqrt(_CROWD / max(len(x), 1)), 0.05, 0.8))
    (drawn,) = panel.plot(
        x, values, ".", alpha=alpha, markeredgewidth=0, rasterized=len(x) > _MANY, label=label
    )
    return drawn


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else np.nan


def _quality(pair: Pair) -> str:
    said = f"RMSE = {pair.number(_root_mean_square(pair.errors))}"
    around = pair.targets - pair.targets.mean() if pair.targets.size else pair.targets
    total = float(np.sum(around**2))
    if not total > 0:  # of equal targets there is nothing to determine
        return said
    return f"R² = {1 - float(np.sum(pair.errors**2)) / total:.4g}, {said}"


def _line(panel: Any, pair: Pair, colour: Any) -> None:
    """The least-squares line of the outputs over the targets, if there is one."""
    if len(pair.targets) < 2:
        return
    middle, around = pair.targets.mean(), pair.targets - pair.targets.mean()
    total = float(around @ around)
    if not total > 0:
        return
    slope = float(around @ pair.outputs) / total
    offset = pair.outputs.mean() - slope * middle
    said = f"line: {plain(slope)} × target {'−' if offset < 0 else '+'} {pair.number(abs(offset))}"
    panel.axline(
        (middle, pair.outputs.mean()),
        slope=slope,
        color=colour,
        linewidth=1.2,
        label=said,
        gid=ASIDE,
    )


def _limits(pair: Pair, before: Sequence[float]) -> tuple[float, float]:
    """The limits of both axes, around what is drawn and ``before``."""
    values = np.concatenate([pair.targets, pair.outputs])
    if not values.size:
        return (min(before), max(before)) if len(before) else (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    return min(low - margin, *before, low), max(high + margin, *before, high)
