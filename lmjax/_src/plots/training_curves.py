"""Losses and metrics over the epochs of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from lmjax._src.plots.names import GRADIENT_NORM, NOT_METRICS, RESTRAINTS
from lmjax._src.plots.panels import explain, panels
from lmjax._src.typing import Array

Against = Literal["epochs", "seconds"]

_VALIDATION = "val_"
#: Of the lists that tell of steps those that are drawn, as their axes call them.
_CALLED = {
    **dict(zip(RESTRAINTS, ("damping λ", "trust radius"), strict=True)),
    GRADIENT_NORM: "gradient norm",
}
#: A metric that spans more than this factor is drawn on a logarithmic axis.
_SPAN = 50.0
#: A loss that spans less has no power of ten beside its axis, and is drawn on a linear one.
_DECADE = 10.0
#: Marks the curves among the lines of a panel.
_CURVE = "lmjax-curve"
#: So few epochs are drawn as points, too.
_FEW = 25


def training_curves(
    history: Mapping[str, Sequence[float]],
    *,
    epochs: Mapping[str, Sequence[int]] | None = None,
    start: Mapping[str, float] | None = None,
    best_epoch: int | None = None,
    against: Against = "epochs",
    steps: bool = False,
    label: str | None = None,
    axes: Any = None,
) -> Array:
    """Draws the losses and metrics of a training, MATLAB's ``plotperform``, and on demand what its
    steps were like, ``plottrainstate``.

    The loss has the first panel and every metric one of its own, each with its validation values
    beside it. Losses are on a logarithmic axis unless they
    are negative or within a factor of ten. Drawn twice on the same
    axes, with a ``label`` for each, it compares two trainings, by Keras' own ``fit``, too.
    ``History.plot`` and :meth:`lmjax.FitResult.plot` fill in all arguments but the last four.

    Args:
        history: lists with one number an epoch by Keras' names: those that begin with ``val_`` are
            of the validation data; ``seconds`` since the start of the training is no curve, nor is
            what is told of steps, but for two by ``steps``.
        epochs: the numbers of the epochs, from 0, that the numbers of a list belong to; without
            those of a name, these are the first ones.
        start: numbers before the first epoch, by the same names.
        best_epoch: the number of the epoch whose weights were kept, which is marked.
        against: what the horizontal axis counts, "epochs" that are done or "seconds".
        steps: whether λ (``damping``, or ``trust_region_radius``) and ``gradient_norm`` of the
            history have panels, too, behind the others.
        label: what this training is called in the legend.
        axes: Matplotlib's Axes, as many as there are panels; None for a new figure.

    Returns:
        An array of the Axes, a panel each; ``axes[0].figure.savefig("curves.png")`` keeps them.

    Raises:
        ImportError: Matplotlib is not installed; the extra ``lmjax[plot]`` has it.
        TypeError, ValueError: there is nothing to draw, or what was passed does not fit.

    Example:
        >>> import matplotlib
        >>> matplotlib.use("Agg")  # no window
        >>> import lmjax
        >>> history = {"loss": [0.5, 0.02, 0.01], "val_loss": [0.6, 0.04, 0.05]}
        >>> (panel,) = lmjax.plots.training_curves(history, start={"loss": 2.0}, best_epoch=1)
        >>> panel.get_ylabel(), panel.get_yscale(), [len(line.get_xdata()) for line in panel.lines]
        ('loss', 'log', [4, 3, 2])
        >>> [text.get_text() for text in panel.get_legend().get_texts()]
        ['training', 'validation', 'epoch 2, kept']
    """
    if against not in get_args(Against):
        raise ValueError(f"against: expected 'epochs' or 'seconds', got {against!r}")
    clock = _Clock.of(history, epochs or {}, against)
    curves = {
        name: clock.curve(name, values, (start or {}).get(name))
        for name, values in history.items()
        if name not in NOT_METRICS and len(values)
    }
    names = list(dict.fromkeys(name.removeprefix(_VALIDATION) for name in curves))
    if not names:
        raise ValueError("history: there is no epoch to draw")
    names.sort(key=lambda name: name != "loss")  # it is first, the others stay in their order
    of_steps = _of_steps(history) if steps else []
    curves |= {name: clock.curve(name, history[name], None) for name in of_steps}
    names += of_steps
    found = panels(len(names), axes, "loss or metric" + (", λ and gradient" if steps else ""))
    prefix = "" if label is None else f"{label}: "
    for panel, name in zip(found, names, strict=True):
        kinds = {"training": name, "validation": _VALIDATION + name}
        drawn = {prefix + kind: curves[key] for kind, key in kinds.items() if key in curves}
        if name in of_steps:  # these have one curve, and the axis says of what
            drawn = {"_" if label is None else label: curves[name]}
        _draw(panel, name, drawn)
        if best_epoch is not None:
            panel.axvline(
                clock.after(best_epoch),
                color=panel.lines[-1].get_color(),
                linestyle=":",
                label="_" if name in of_steps else f"{prefix}epoch {best_epoch + 1}, kept",
            )
        _dress(panel, name, against)
        if name in of_steps:
            panel.set_xlim(found[0].get_xlim())
    return found


def _of_steps(history: Mapping[str, Sequence[float]]) -> list[str]:
    """The lists that ``steps`` is about."""
    names = [name for name in _CALLED if len(history.get(name, ()))]
    if GRADIENT_NORM not in names:
        raise ValueError(
            "steps: the history tells nothing of steps, as those of lmjax.fit and bridge.fit do; "
            "leave it out"
        )
    return names


class _Curve(NamedTuple):
    x: Array
    values: Array


class _Clock(NamedTuple):
    """Where epochs are on the horizontal axis."""

    epochs: Mapping[str, Sequence[int]]
    first: int  #: the number of the first epoch
    seconds: Array | None  #: after each epoch; None to count epochs

    @classmethod
    def of(
        cls,
        history: Mapping[str, Sequence[float]],
        epochs: Mapping[str, Sequence[int]],
        against: Against,
    ) -> _Clock:
        first = min((numbers[0] for numbers in epochs.values() if len(numbers)), default=0)
        if against == "epochs":
            return cls(epochs, first, None)
        if "seconds" not in history:
            raise ValueError("against: the history has no 'seconds'; draw it against 'epochs'")
        return cls(epochs, first, np.asarray(history["seconds"], np.float64))

    def after(self, epoch: int) -> float:
        """The end of an epoch."""
        if self.seconds is None:
            return epoch + 1
        return float(self.seconds[epoch - self.first])

    @property
    def before_first(self) -> float:
        """The start of the training."""
        return self.first if self.seconds is None else 0.0

    def curve(self, name: str, values: Sequence[float], start: float | None) -> _Curve:
        """A list of the history, with what was there before it."""
        numbers = self.epochs.get(name, range(self.first, self.first + len(values)))
        if len(numbers) != len(values):
            raise ValueError(
                f"epochs: {len(numbers)} for {name!r}, which has {len(values)} numbers"
            )
        x = [self.after(number) for number in numbers]
        if name == GRADIENT_NORM:  # that of an epoch is where its step begins
            x = [self.before_first, *x[:-1]]
        if start is not None:
            x.insert(0, self.before_first)
            values = [start, *values]
        return _Curve(np.asarray(x), np.asarray(values, np.float64))


def _draw(panel: Any, name: str, curves: Mapping[str, _Curve]) -> None:
    for label, (x, values) in curves.items():
        few = {"marker": "o", "markersize": 3} if len(x) <= _FEW else {}
        panel.plot(x, values, label=label, gid=_CURVE, **few)
    all_there = [line.get_ydata() for line in panel.lines if line.get_gid() == _CURVE]
    panel.set_yscale(_scale(np.concatenate(all_there), name))


def _scale(values: Array, name: str) -> str:
    known = values[np.isfinite(values)]
    positive = known[known > 0]
    if not positive.size or known.min() < 0:
        return "linear"
    if name.endswith("loss") or name in _CALLED:
        return "log" if positive.max() > _DECADE * positive.min() else "linear"
    return "log" if known.min() > 0 and positive.max() > _SPAN * positive.min() else "linear"


def _dress(panel: Any, name: str, against: Against) -> None:
    panel.set_xlabel("epochs" if against == "epochs" else "seconds")
    panel.set_ylabel(_CALLED.get(name, name))
    if against == "epochs":
        panel.xaxis.get_major_locator().set_params(integer=True)
    panel.grid(alpha=0.3)
    explain(panel)
