"""``keras.ops.rearrange``: axes split, moved and merged by a pattern such as ``b (h p) c -> b h (p c)``."""

from __future__ import annotations

import math
import re

import jax

from bridge.operations.table import function


def _groups(side: str) -> list[list[str]]:
    """The axes of one side of a pattern; those in brackets together."""
    return [re.findall(r"\w+", group) for group in re.findall(r"\w+|\(.*?\)", side)]


@function("einops.Rearrange")
def rearrange(tensor: jax.Array, pattern: str, **axes_lengths: int) -> jax.Array:
    """``tensor`` with its axes arranged anew; of each group one length may be left out."""
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
