"""Functions that move numbers and do not change them: shapes, joins, parts, indices, and
``rearrange`` by a pattern.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from bridge._src.layers.numerics import check_table
from bridge._src.layers.pieces import joined, parts
from bridge._src.operations.table import axes_of, dtype_of, function, named, whole
from bridge._src.typing import Axis, Sizes
from lmjax._src.typing import Array, ArrayLike

named(
    "numpy",
    "x",
    {
        "Fliplr": jnp.fliplr,
        "Flipud": jnp.flipud,
        "Ravel": jnp.ravel,
        "Ndim": lambda x: jnp.asarray(np.ndim(x), jnp.int32),
        "Size": lambda x: jnp.asarray(np.size(x), jnp.int32),
    },
)
named("numpy", "xs", {"Dstack": jnp.dstack, "Hstack": jnp.hstack, "Vstack": jnp.vstack})
named(
    "numpy",
    "x source destination",
    {"Moveaxis": lambda x, source, to: jnp.moveaxis(x, axes_of(source), axes_of(to))},
)
named("numpy", "x axis1 axis2", {"Swapaxes": jnp.swapaxes})
named("numpy", "x axis", {"ExpandDims": lambda x, axis: jnp.expand_dims(x, axes_of(axis))})
named("numpy", "x shape", {"BroadcastTo": lambda x, shape: jnp.broadcast_to(x, whole(shape))})
named("numpy", "x newshape", {"Reshape": lambda x, newshape: jnp.reshape(x, whole(newshape))})
named("numpy", "x repeats", {"Tile": lambda x, repeats: jnp.tile(x, whole(repeats))})


@function("numpy.GetItem")
def get_item(x: jax.Array, key: Any = None) -> jax.Array:
    """x[key]."""
    return x[tuple(key) if isinstance(key, list) else key]


@function("numpy.Transpose")
def transpose(x: ArrayLike, axes: Sequence[int] | None = None) -> jax.Array:
    """Axes in another order; reversed by default."""
    return jnp.transpose(x, axes_of(axes))


@function("numpy.Squeeze")
def squeeze(x: ArrayLike, axis: Axis = None) -> jax.Array:
    """Without axes of length 1."""
    return jnp.squeeze(x, axes_of(axis))


@function("numpy.Flip")
def flip(x: ArrayLike, axis: Axis = None) -> jax.Array:
    """Reversed along axes."""
    return jnp.flip(x, axes_of(axis))


@function("numpy.Rot90")
def rot90(array: ArrayLike, k: int = 1, axes: Sizes = (0, 1)) -> jax.Array:
    """Turned by right angles."""
    return jnp.rot90(array, k, tuple(axes))


@function("numpy.Roll")
def roll(x: ArrayLike, shift: Sizes, axis: Axis = None) -> jax.Array:
    """Shifted along axes; what leaves at one end comes in at the other."""
    return jnp.roll(x, axes_of(shift), axes_of(axis))


@function("numpy.Repeat")
def repeat(x: ArrayLike, repeats: Sizes, axis: int | None = None) -> jax.Array:
    """Each entry repeated."""
    counts = whole(repeats)
    check_table(np.size(counts))
    return (
        jnp.repeat(x, np.asarray(counts), axis, total_repeat_length=sum(counts))
        if np.ndim(counts)
        else jnp.repeat(x, counts, axis)
    )


@function("numpy.Pad")
def pad(
    x: ArrayLike, pad_width: Sizes, mode: str = "constant", constant_values: ArrayLike = None
) -> jax.Array:
    """With margins."""
    width = (
        pad_width
        if isinstance(pad_width, int)
        else tuple(whole(pair) if np.ndim(pair) else pair for pair in pad_width)
    )
    return jnp.pad(
        x, width, mode, **({} if constant_values is None else {"constant_values": constant_values})
    )


@function("numpy.Concatenate")
def concatenate(xs: Sequence[Any], axis: int = 0) -> jax.Array:
    """One behind the other."""
    return joined([jnp.asarray(x) for x in xs], axis)


@function("numpy.Append")
def append(x1: ArrayLike, x2: ArrayLike, axis: int | None = None) -> jax.Array:
    """The second behind the first, flat by default."""
    return jnp.append(x1, x2, axis)


@function("numpy.Stack")
def stack(x: Sequence[Any], axis: int = 0) -> jax.Array:
    """Beside each other along a new axis."""
    return jnp.stack([jnp.asarray(one) for one in x], axis)


@function("core.Unstack", "num")
def unstack(x: jax.Array, axis: int = 0) -> tuple[jax.Array, ...]:
    """The parts along an axis, without it."""
    return tuple(jnp.moveaxis(x, axis, 0))


@function("numpy.Split")
def split(x: ArrayLike, indices_or_sections: Sizes, axis: int = 0) -> list[jax.Array]:
    """Equal parts, or those between indices."""
    return parts(jnp.asarray(x), whole(indices_or_sections), axis)


@function("numpy.ArraySplit")
def array_split(x: ArrayLike, indices_or_sections: Sizes, axis: int = 0) -> list[jax.Array]:
    """Parts that are as equal as can be."""
    return jnp.array_split(x, whole(indices_or_sections), axis)


@function("numpy.Hsplit")
def hsplit(x: ArrayLike, indices_or_sections: Sizes) -> list[jax.Array]:
    """Parts along the second axis (the first of a vector)."""
    return jnp.hsplit(x, whole(indices_or_sections))


@function("numpy.Vsplit")
def vsplit(x: ArrayLike, indices_or_sections: Sizes) -> list[jax.Array]:
    """Parts along the first axis."""
    return jnp.vsplit(x, whole(indices_or_sections))


@function("numpy.Dsplit")
def dsplit(x: ArrayLike, indices_or_sections: Sizes) -> list[jax.Array]:
    """Parts along the third axis."""
    return jnp.dsplit(x, whole(indices_or_sections))


@function("numpy.Meshgrid")
def meshgrid(*x: ArrayLike, indexing: str = "xy") -> list[jax.Array]:
    """Coordinates of a grid."""
    return jnp.meshgrid(*x, indexing=indexing)


@function("numpy.Take")
def take(x: ArrayLike, indices: ArrayLike, axis: int | None = None) -> jax.Array:
    """The entries at positions along an axis; negative ones count from the end."""
    return jnp.take(x, jnp.asarray(indices), axis)


@function("numpy.TakeAlongAxis")
def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: int | None = None) -> jax.Array:
    """The entries at positions that differ from row to row."""
    return jnp.take_along_axis(x, jnp.asarray(indices), axis)


@function("numpy.Diag")
def diag(x: ArrayLike, k: int = 0) -> jax.Array:
    """A matrix with this diagonal, or the diagonal of a matrix."""
    return jnp.diag(x, k)


@function("numpy.Diagflat")
def diagflat(x: ArrayLike, k: int = 0) -> jax.Array:
    """A matrix with these numbers on its diagonal."""
    return jnp.diagflat(x, k)


@function("numpy.Diagonal")
def diagonal(x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> jax.Array:
    """The diagonals of two axes."""
    result: jax.Array = jnp.diagonal(x, offset, axis1, axis2)
    return result


@function("numpy.Tril")
def tril(x: ArrayLike, k: int = 0) -> jax.Array:
    """The lower triangles."""
    return jnp.tril(x, k)


@function("numpy.Triu")
def triu(x: ArrayLike, k: int = 0) -> jax.Array:
    """The upper triangles."""
    return jnp.triu(x, k)


@function("core.Slice")
def slice_of(inputs: jax.Array, start_indices: ArrayLike, shape: Sizes) -> jax.Array:
    """The part of this shape from these indices on."""
    return lax.dynamic_slice(inputs, list(start_indices), whole(shape))


@function("core.SliceUpdate")
def slice_update(inputs: jax.Array, start_indices: ArrayLike, updates: ArrayLike) -> jax.Array:
    """``inputs`` with a part of it replaced."""
    return lax.dynamic_update_slice(inputs, jnp.asarray(updates, inputs.dtype), list(start_indices))


@function("core.Scatter")
def scatter(indices: ArrayLike, values: ArrayLike, shape: Sizes) -> jax.Array:
    """Zeros with values added at indices (…, axes)."""
    values = jnp.asarray(values)
    return (
        jnp.zeros(whole(shape), values.dtype)
        .at[tuple(jnp.moveaxis(jnp.asarray(indices), -1, 0))]
        .add(values)
    )


@function("core.ScatterUpdate")
def scatter_update(
    inputs: jax.Array, indices: ArrayLike, updates: ArrayLike, reduction: str | None = None
) -> jax.Array:
    """``inputs`` with updates at indices (…, axes), which replace what is there or are combined
    with it.
    """
    at = inputs.at[tuple(jnp.moveaxis(jnp.asarray(indices), -1, 0))]
    methods: dict[str | None, Callable[..., jax.Array]] = {
        None: at.set,
        "add": at.add,
        "max": at.max,
        "min": at.min,
    }
    if reduction not in methods:
        raise ValueError(f"reduction={reduction!r} of scatter_update has no derivative in JAX")
    return methods[reduction](jnp.asarray(updates, inputs.dtype))


@function("numpy.UnravelIndex")
def unravel_index(indices: ArrayLike, shape: Sizes) -> tuple[jax.Array, ...]:
    """Positions in a flat array as indices of its axes."""
    if jnp.ndim(indices) > 1:
        raise ValueError(
            "Keras on TensorFlow gives the indices of a table of positions in the wrong "
            "order; give it a flat list of them"
        )
    return jnp.unravel_index(indices, whole(shape))


@function("numpy.FullLike")
def full_like(x: jax.Array, fill_value: ArrayLike, dtype: DTypeLike | None = None) -> jax.Array:
    """One number in the shape of x."""
    return jnp.full_like(x, fill_value, None if dtype is None else dtype_of(dtype, x))


@function("numpy.OnesLike")
def ones_like(x: jax.Array, dtype: DTypeLike | None = None) -> jax.Array:
    """Ones in the shape of x."""
    return full_like(x, 1, dtype)


@function("numpy.ZerosLike")
def zeros_like(x: jax.Array, dtype: DTypeLike | None = None) -> jax.Array:
    """Zeros in the shape of x."""
    return full_like(x, 0, dtype)


@function("numpy.Full")
def full(fill_value: ArrayLike, shape: Sizes, dtype: DTypeLike | None = None) -> jax.Array:
    """One number in a shape."""
    return jnp.full(
        whole(shape), fill_value, None if dtype is None else dtype_of(dtype, fill_value)
    )


@function("numpy.Linspace")
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Array:
    """Evenly spaced numbers."""
    return jnp.linspace(
        start, stop, num, endpoint, retstep, None if dtype is None else dtype_of(dtype, start), axis
    )


@function("numpy.Logspace")
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> jax.Array:
    """Powers of a base with evenly spaced exponents."""
    return jnp.logspace(
        start, stop, num, endpoint, base, None if dtype is None else dtype_of(dtype, start), axis
    )


@function("numpy.Geomspace")
def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> jax.Array:
    """Numbers with equal ratios."""
    return jnp.geomspace(
        start, stop, num, endpoint, None if dtype is None else dtype_of(dtype, start), axis
    )


def _groups(side: str) -> list[list[str]]:
    """The axes of one side of a pattern; those in brackets together."""
    return [re.findall(r"\w+", group) for group in re.findall(r"\w+|\(.*?\)", side)]


@function("einops.Rearrange")
def rearrange(tensor: jax.Array, pattern: str, **axes_lengths: int) -> jax.Array:
    """``tensor`` with its axes arranged anew by a pattern such as ``b (h p) c -> b h (p c)``; of
    each group one length may be left out.
    """
    before, after = (_groups(side) for side in re.split(r"\s*->\s*", pattern))
    lengths = dict(axes_lengths)
    for group, size in zip(before, tensor.shape, strict=True):
        unknown = [axis for axis in group if axis not in lengths]
        known = math.prod(lengths[axis] for axis in group if axis in lengths)
        lengths |= dict.fromkeys(unknown[:1], size // known)
    axes = [axis for group in before for axis in group]
    split = tensor.reshape([lengths[axis] for axis in axes])
    moved = split.transpose([axes.index(axis) for group in after for axis in group])
    return moved.reshape([math.prod(lengths[axis] for axis in group) for group in after])
