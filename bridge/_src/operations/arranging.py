"""Functions that move numbers and do not change them: shapes, joins, parts, and
``rearrange`` by a pattern.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.layers.numerics import check_table
from bridge._src.layers.pieces import joined, parts
from bridge._src.operations.table import axes_of, function, named, whole
from bridge._src.typing import Axis, Sizes
from lmjax._src.typing import ArrayLike

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
