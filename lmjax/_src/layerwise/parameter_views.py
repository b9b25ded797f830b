"""Values that are a parameter in other clothes: rearranged, repeated or cut."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lmjax._src.typing import Array, Equation, NumpyArray

Rearrangement = Callable[[Array, dict[str, Any]], Array]


@dataclasses.dataclass(frozen=True)
class View:
    """A value whose entries are entries of a parameter."""

    leaf: int
    of: Callable[[Array], Array]  #: from the parameter, of NumPy or JAX, to the value; linear
    injective: bool  #: whether it holds no entry twice

    def entries(self, shape: tuple[int, ...]) -> NumpyArray:
        """Which entries of the parameter, of that shape, it holds: sorted numbers, each once."""
        return np.unique(self.of(np.arange(math.prod(shape)).reshape(shape)))


def broadcast_to(array: Array, shape: tuple[int, ...]) -> Array:
    """``array`` repeated, by the library that it is of."""
    return (np if isinstance(array, np.ndarray) else jnp).broadcast_to(array, shape)


def _same(array: Array, _: dict[str, Any]) -> Array:
    return array


def _slice(array: Array, params: dict[str, Any]) -> Array:
    steps = params["strides"] or (1,) * array.ndim
    return array[tuple(map(slice, params["start_indices"], params["limit_indices"], steps))]


def _reverse(array: Array, params: dict[str, Any]) -> Array:
    return array[
        tuple(
            slice(None, None, -1 if axis in params["dimensions"] else None)
            for axis in range(array.ndim)
        )
    ]


def _broadcast(array: Array, params: dict[str, Any]) -> Array:
    shape = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], array.shape, strict=True):
        shape[axis] = size
    return broadcast_to(array.reshape(shape), params["shape"])


def _cut(array: Array, params: dict[str, Any]) -> Array:
    return array[(slice(None),) * params["axis"] + (slice(params["start"], params["end"]),)]


#: What equations with one operand and one result do with it, by their parameters.
_REARRANGING: dict[str, Rearrangement] = {
    "reshape": lambda array, params: array.reshape(params["new_sizes"]),
    "squeeze": lambda array, params: array.squeeze(tuple(params["dimensions"])),
    "transpose": lambda array, params: array.transpose(params["permutation"]),
    "rev": _reverse,
    "copy": _same,
    "copy_p": _same,
    "convert_element_type": _same,
    "slice": _slice,
    "broadcast_in_dim": _broadcast,
}


def dressed(equation: Equation, view: View) -> list[View] | None:
    """The views of the results of an equation that only rearranges, repeats or cuts its one
    operand, else None.
    """
    name, params, operand = equation.primitive.name, equation.params, equation.invars[0].aval
    if name == "split":
        edges = [0, *np.cumsum(params["sizes"]).tolist()]
        return [
            _then(view, _cut, params | {"start": start, "end": end})
            for start, end in itertools.pairwise(edges)
        ]
    if name not in _REARRANGING or (
        name == "convert_element_type" and params["new_dtype"] != operand.dtype
    ):
        return None
    repeats = name == "broadcast_in_dim" and math.prod(params["shape"]) > operand.size
    return [_then(view, _REARRANGING[name], params, repeats)]


def disjoint(views: Sequence[View], shape: tuple[int, ...]) -> bool:
    """Whether no entry of a parameter, of that shape, is in two of its views."""
    entries = np.concatenate([view.entries(shape) for view in views])
    return len(np.unique(entries)) == len(entries)


def _then(
    view: View, rearrange: Rearrangement, params: dict[str, Any], repeats: bool = False
) -> View:
    return View(
        view.leaf,
        lambda parameter: rearrange(view.of(parameter), params),
        view.injective and not repeats,
    )
