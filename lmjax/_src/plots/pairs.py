"""Targets and outputs of a model as columns of numbers, a pair for each output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lmjax._src.typing import Array, PyTree

#: More panels than these are no picture any more.
_MOST = 16


class Pair(NamedTuple):
    """One output of a model."""

    name: str  #: may be empty
    unit: str  #: likewise
    targets: Array  #: (n,), float64, finite
    outputs: Array  #: likewise
    lost: int  #: samples that are not finite, and left out

    @property
    def errors(self) -> Array:
        """Targets - outputs, as MATLAB has them."""
        return self.targets - self.outputs

    def said(self, what: str, label: str | None) -> str:
        """What the legend says of these samples."""
        lost = f" ({self.lost} not finite, left out)" if self.lost else ""
        return f"{what if label is None else f'{label}: {what}'}{lost}"

    def number(self, value: float) -> str:
        """A number in the unit of the output."""
        return f"{plain(value)} {self.unit}".rstrip()

    def label(self, quantity: str) -> str:
        """What stands beside an axis with a quantity in the unit of the output."""
        name = f"{self.name}: {quantity}" if self.name else quantity
        return f"{name} ({self.unit})" if self.unit else name


def plain(value: float) -> str:
    """A number of three digits, with the minus sign that the axes have."""
    return f"{value:.3g}".replace("-", "−")


def pairs_of(
    y: PyTree,
    outputs: PyTree,
    names: str | Sequence[str] | None,
    units: str | Sequence[str] | None,
) -> list[Pair]:
    """Every output with its targets; see :func:`lmjax.plots.parity` for the arguments.

    Raises:
        TypeError, ValueError: they do not fit one another.
    """
    columns = list(_columns(y, outputs, "", ""))
    if not columns:
        raise ValueError("y: there are no outputs")
    if len(columns) > _MOST:
        raise ValueError(
            f"y: {len(columns)} outputs, and one picture has at most {_MOST} panels; pass some of "
            "them, such as y[..., :4] and outputs[..., :4]"
        )
    own = [name for name, *_ in columns]
    found = zip(
        _given(names, own, "names"),
        _given(units, [""] * len(own), "units"),
        (targets for _, targets, _ in columns),
        (values for *_, values in columns),
        strict=True,
    )
    return [_finite(*pair) for pair in found]


def _columns(
    y: PyTree, outputs: PyTree, name: str, where: str
) -> Iterator[tuple[str, Array, Array]]:
    """(name, targets, outputs) of every output; ``where`` says which part of y this is."""
    if isinstance(y, Mapping) or isinstance(outputs, Mapping):
        if not (isinstance(y, Mapping) and isinstance(outputs, Mapping)) or set(y) != set(outputs):
            raise ValueError(
                f"y{where} and outputs{where}: expected dictionaries with the same names, got "
                f"{_kind(y)} and {_kind(outputs)}"
            )
        for key in outputs:
            yield from _columns(y[key], outputs[key], _joined(name, key), f"{where}[{key!r}]")
    elif _is_several(y) or _is_several(outputs):
        if not (_is_several(y) and _is_several(outputs)) or len(y) != len(outputs):
            raise ValueError(
                f"y{where} and outputs{where}: expected lists with an array for each output, got "
                f"{_kind(y)} and {_kind(outputs)}"
            )
        for number, pair in enumerate(zip(y, outputs, strict=True)):
            own = f"{name}[{number}]" if name else f"output {number}"
            yield from _columns(*pair, own, f"{where}[{number}]")
    else:
        yield from _of_arrays(y, outputs, name, where)


def _of_arrays(y: Any, outputs: Any, name: str, where: str) -> Iterator[tuple[str, Array, Array]]:
    targets, values = _numbers(y, f"y{where}"), _numbers(outputs, f"outputs{where}")
    shapes = targets.shape, values.shape
    if targets.ndim == 1:  # Keras takes (N,) for (N, 1)
        targets = targets[:, None]
    if values.ndim == 1:
        values = values[:, None]
    if targets.shape != values.shape:
        raise ValueError(
            f"y{where} has shape {shapes[0]}, outputs{where} {shapes[1]}: expected equal shapes, a "
            "target for each output; class indices are no such targets"
        )
    if not targets.size:
        raise ValueError(f"y{where}: there are no samples")
    width = targets.shape[-1]
    titles = list(map(str, getattr(y, "columns", range(width))))  # of a table of pandas
    bare = not hasattr(y, "columns")
    for column in range(width):
        if width == 1 and bare:
            title = name
        elif bare:
            title = f"{name}[{column}]" if name else f"output {column}"
        else:
            title = _joined(name, titles[column])
        yield title, targets[..., column].ravel(), values[..., column].ravel()


def _numbers(given: Any, argument: str) -> Array:
    try:
        array = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{argument}: expected an array of real numbers ({error})") from None
    if array.ndim == 0:
        raise ValueError(f"{argument}: expected an array of samples, got a single number")
    return array


def _is_several(given: Any) -> bool:
    """Whether this is a list of arrays, and no list of numbers."""
    return isinstance(given, (list, tuple)) and any(
        isinstance(one, Mapping) or _is_several(one) or getattr(one, "shape", ()) != ()
        for one in given
    )


def _kind(given: Any) -> str:
    if isinstance(given, Mapping):
        return f"one with {', '.join(map(repr, given)) or 'nothing'}"
    if _is_several(given):
        return f"a list of {len(given)}"
    return f"an array of shape {np.shape(given)}"


def _joined(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def _given(given: str | Sequence[str] | None, default: list[str], argument: str) -> list[str]:
    if given is None:
        return default
    found = [given] if isinstance(given, str) else [str(one) for one in given]
    if len(found) != len(default):
        raise ValueError(
            f"{argument}: {len(default)} are needed, one for each output, got {len(found)}"
        )
    return found


def _finite(name: str, unit: str, targets: Array, outputs: Array) -> Pair:
    known = np.isfinite(targets) & np.isfinite(outputs)
    return Pair(name, unit, targets[known], outputs[known], int(np.sum(~known)))
