"""What the places where a parameter meets data have to say of the parameter's rows of J, equation
by equation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.layerwise.parameter_views import View, broadcast_to
from lmjax._src.layerwise.patches import Geometry, extract_patches
from lmjax._src.typing import Array, Equation


@dataclasses.dataclass(frozen=True)
class ParameterUse:
    """One place where a parameter meets data.

    ``product``: outputs (T, G, F) = data (T, G, K) @ parameter (G, K, F) for each of T positions
    and G groups, up to permutations; noted is what :attr:`expand` makes the data of. ``lookup``:
    outputs (T, 1, F) are the rows of the parameter that integers (T,) name; noted are the integers.
    ``entrywise``: outputs = data · view of the parameter, or data ± view; noted is data, or ±1.
    """

    leaf: int
    kind: Literal["product", "lookup", "entrywise"]
    shape: tuple[int, ...]  #: of the outputs
    #: What of the parameter is met; for ``entrywise`` of the outputs' shape
    view: View = dataclasses.field(compare=False)
    #: The permutation of the outputs' axes that brings them to (T…, G…, F…)
    order: tuple[int, ...] = ()
    groups: int = 1  #: G
    features: int = 1  #: F
    length: int = 1  #: K, or the number of rows of the table
    expand: Callable[[jax.Array], jax.Array] = dataclasses.field(
        default=lambda noted: noted, compare=False
    )
    contracted: tuple[int, ...] = ()  #: in a product of matrices: the axes of the view along K

    def arranged(self, deltas: jax.Array) -> jax.Array:
        """``deltas`` of the outputs' shape as (T, G, F)."""
        return deltas.transpose(self.order).reshape(-1, self.groups, self.features)

    @property
    def positions(self) -> int:
        """T."""
        return math.prod(self.shape) // (self.groups * self.features)


def repeated(use: ParameterUse, times: int) -> ParameterUse:
    """The use in a loop that runs so many times: each time is a position of its own, along a
    new first axis.
    """
    view, expand = use.view, use.expand

    def repeat(parameter: Array) -> Array:
        inner = view.of(parameter)
        return broadcast_to(inner, (times, *inner.shape))

    return dataclasses.replace(
        use,
        shape=(times, *use.shape),
        view=View(view.leaf, repeat, False),
        order=(0, *(axis + 1 for axis in use.order)),
        expand=lambda noted: _merged(jax.vmap(expand)(noted)),
    )


def _merged(array: jax.Array) -> jax.Array:
    """The first two axes as one."""
    return array.reshape(-1, *array.shape[2:])


class NotedUse(NamedTuple):
    """A use, and what is to be noted there."""

    use: ParameterUse
    noted: jax.Array


def _product(equation: Equation, inputs: list[Array], views: list[View | None]) -> NotedUse | None:
    contracted, batched = equation.params["dimension_numbers"]
    side = 0 if views[0] is not None else 1
    view, data = views[side], inputs[1 - side]
    if view is None or not view.injective:
        return None
    shape, contracted, batched = (
        equation.outvars[0].aval.shape,
        contracted[1 - side],
        batched[1 - side],
    )
    kept = [axis for axis in range(data.ndim) if axis not in (*contracted, *batched)]
    axes = tuple(range(len(shape)))
    common, rest = axes[: len(batched)], axes[len(batched) :]
    positions = rest[: len(kept)] if side == 1 else rest[len(rest) - len(kept) :]
    features = tuple(axis for axis in rest if axis not in positions)
    groups = math.prod(shape[axis] for axis in common)
    arranged = data.transpose(*kept, *batched, *contracted).reshape(
        math.prod(data.shape[axis] for axis in kept), groups, -1
    )
    order = (*positions, *common, *features)
    width = math.prod(shape[axis] for axis in features)
    along = tuple(equation.params["dimension_numbers"][0][side])
    return NotedUse(
        ParameterUse(
            view.leaf,
            "product",
            shape,
            view,
            order,
            groups,
            width,
            arranged.shape[-1],
            contracted=along,
        ),
        arranged,
    )


def _convolution(
    equation: Equation, inputs: list[Array], views: list[View | None]
) -> NotedUse | None:
    params, view = equation.params, views[1]
    if view is None or not view.injective or params["batch_group_count"] != 1:
        return None
    numbers, shape, groups = (
        params["dimension_numbers"],
        equation.outvars[0].aval.shape,
        params["feature_group_count"],
    )
    lhs, rhs, out = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    window = tuple(inputs[1].shape[axis] for axis in rhs[2:])
    geometry = Geometry(
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        groups,
    )
    length = math.prod(window) * inputs[1].shape[rhs[1]]

    # The patches are many times the inputs: made when they are needed.
    def expand(
        noted: jax.Array,
    ) -> jax.Array:
        return extract_patches(noted, window, geometry).reshape(-1, groups, length)

    order = (out[0], *out[2:], out[1])
    use = ParameterUse(
        view.leaf, "product", shape, view, order, groups, shape[out[1]] // groups, length, expand
    )
    return NotedUse(use, inputs[0].transpose(lhs[0], *lhs[2:], lhs[1]))


def _lookup(equation: Equation, inputs: list[Array], views: list[View | None]) -> NotedUse | None:
    numbers, sizes, (view, _) = (
        equation.params["dimension_numbers"],
        equation.params["slice_sizes"],
        views,
    )
    table, indices = inputs
    plain = (
        table.ndim == 2
        and sizes == (1, table.shape[1])
        and numbers.collapsed_slice_dims == (0,)
        and numbers.start_index_map == (0,)
    )
    if view is None or not view.injective or not plain or numbers.operand_batching_dims:
        return None
    shape = equation.outvars[0].aval.shape
    if numbers.offset_dims != (len(shape) - 1,):
        return None
    rows = jnp.clip(indices.reshape(-1), 0, table.shape[0] - 1)
    return NotedUse(
        ParameterUse(
            view.leaf,
            "lookup",
            shape,
            view,
            tuple(range(len(shape))),
            1,
            table.shape[1],
            table.shape[0],
        ),
        rows,
    )


def _entrywise(
    equation: Equation, inputs: list[Array], views: list[View | None]
) -> NotedUse | None:
    side = 0 if views[0] is not None else 1
    view = views[side]
    shape = equation.outvars[0].aval.shape
    name, noted = equation.primitive.name, inputs[1 - side]
    if view is None or (name == "div" and side == 1):
        return None
    if name == "div":
        noted = 1 / noted
    elif name != "mul":
        noted = jnp.full(
            (1,) * len(shape), -1 if name == "sub" and side == 1 else 1, inputs[side].dtype
        )
    # Keeps its rank in loops.
    noted = jnp.asarray(noted).reshape((1,) * (len(shape) - jnp.ndim(noted)) + jnp.shape(noted))
    broadcast = View(
        view.leaf, lambda parameter: broadcast_to(view.of(parameter), shape), view.injective
    )
    return NotedUse(ParameterUse(view.leaf, "entrywise", shape, broadcast), noted)


RULES: dict[str, Callable[[Equation, list[Array], list[View | None]], NotedUse | None]] = {
    "dot_general": _product,
    "conv_general_dilated": _convolution,
    "gather": _lookup,
    "add": _entrywise,
    "add_any": _entrywise,
    "sub": _entrywise,
    "mul": _entrywise,
    "div": _entrywise,
}
