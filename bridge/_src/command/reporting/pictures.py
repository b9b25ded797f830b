"""Pictures of a fit, as images within a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import lmjax
from bridge._src.command.reporting.outcomes import Outcome
from bridge._src.command.reporting.page import pictures
from bridge._src.command.reporting.statistics import numbers_of
from lmjax._src.plots.names import GRADIENT_NORM, RESTRAINTS

#: Inches of a panel: by itself, and beside others; and of the legend above a square one.
_ALONE, _PANEL, _LEGEND = (6.4, 4.6), (4.6, 4.0), 0.3
#: Dots per inch of the images, two for each that a page has on an ordinary screen.
_DOTS = 192


def curves(result: lmjax.FitResult) -> str:
    """The losses over the epochs, λ (or the radius) and the gradient; nothing without epochs."""
    history = result.history
    if not history["loss"]:
        return ""
    steps = bool(history.get(GRADIENT_NORM))
    count = 1 + steps * sum(bool(history.get(name)) for name in (*RESTRAINTS, GRADIENT_NORM))
    what = "losses, damping and gradient over the epochs" if steps else "losses over the epochs"
    return _drawn(count, what, lambda axes: result.plot(steps=steps, axes=axes))


def errors(outcomes: Sequence[Outcome]) -> str:
    """Outputs over targets, errors over outputs and how often errors are how large, of all sets."""
    sets = [(outcome.name, *numbers_of(outcome)) for outcome in outcomes if outcome.outputs.size]
    if not sets:
        return ""
    count = sets[0][2].shape[-1]

    def drawn(what: str, draw: Callable[..., Any], square: bool = False) -> str:
        def on(axes: Any) -> None:
            for label, targets, outputs, names in sets:
                draw(targets, outputs, names=names, label=label, axes=axes)

        return _drawn(count, what, on, square)

    return "".join(
        (
            drawn("outputs over targets", lmjax.plots.parity, square=True),
            drawn("errors over outputs", lmjax.plots.residuals),
            drawn("how often errors are how large", lmjax.plots.error_histogram),
        )
    )


def _drawn(count: int, what: str, draw: Callable[[Any], Any], square: bool = False) -> str:
    """Images of ``count`` panels, one each, so that a narrow window has them below one another;
    without pyplot, which would open windows.
    """
    from matplotlib.figure import Figure

    width, height = _ALONE if count == 1 else _PANEL
    size = (width, width + _LEGEND if square else height)
    figures = [Figure(figsize=size, layout="constrained") for _ in range(count)]
    draw([figure.subplots() for figure in figures])
    return pictures(map(_source, figures), what, round(96 * width))


def _source(figure: Any) -> str:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=_DOTS)
    return f"data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}"
