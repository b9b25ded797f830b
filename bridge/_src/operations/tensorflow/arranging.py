"""Functions of TensorFlow that arrange: shapes, parts, entries, new tensors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from bridge._src.layers.pieces import joined, parts
from bridge._src.operations.table import axes_of, whole
from bridge._src.operations.tables import TABLE
from bridge._src.operations.tensorflow.symbols import arrays_of, listed, symbols
from bridge._src.typing import Axis, Sizes
from lmjax._src.typing import Array, ArrayLike


@symbols("__operators__.getitem", "compat.v1.strided_slice")
def getitem(x: ArrayLike, slice_spec: Any = None) -> Array:
    """x[slice_spec]."""
    return x[tuple(slice_spec) if isinstance(slice_spec, list | tuple) else slice_spec]


@symbols("reshape")
def reshape(tensor: ArrayLike, shape: Sizes) -> jax.Array:
    """In another shape."""
    return jnp.reshape(tensor, whole(shape))


@symbols("transpose", "compat.v1.transpose")
def transpose(a: ArrayLike, perm: Sizes = None, conjugate: bool = False) -> jax.Array:
    """Axes in another order."""
    a = jnp.conj(a) if conjugate else a
    return jnp.transpose(a, None if perm is None else whole(perm))


@symbols("concat")
def concat(values: ArrayLike, axis: int) -> jax.Array:
    """One behind the other."""
    return joined([jnp.asarray(one) for one in arrays_of(*listed(values))], axis)


@symbols("stack")
def stack(values: ArrayLike, axis: int = 0) -> jax.Array:
    """Beside each other along a new axis."""
    parts = [
        np.asarray(one) if isinstance(one, int | np.ndarray | np.integer) else one
        for one in arrays_of(*listed(values))
    ]
    return (np if all(isinstance(one, np.ndarray) for one in parts) else jnp).stack(parts, axis)  # type: ignore[no-any-return]


@symbols("unstack")
def unstack(value: Any, num: Any = None, axis: int = 0) -> tuple[jax.Array, ...]:  # noqa: ARG001 - follows from the shape
    """The parts along an axis, without it."""
    return tuple(jnp.moveaxis(value, axis, 0))


@symbols("split")
def split(value: Any, num_or_size_splits: Sizes, axis: int = 0) -> list[jax.Array]:
    """Equal parts, or parts of these sizes."""
    sizes = whole(num_or_size_splits)
    return parts(
        jnp.asarray(value),
        sizes if isinstance(sizes, int) else np.cumsum(sizes)[:-1].tolist(),
        axis,
    )


@symbols("squeeze", "compat.v1.squeeze")
def squeeze(input: ArrayLike, axis: Axis = None) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """Without axes of length 1."""
    return jnp.squeeze(input, axes_of(axis) or None)


@symbols("expand_dims", "compat.v1.expand_dims")
def expand_dims(input: ArrayLike, axis: int) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """With a new axis of length 1."""
    return jnp.expand_dims(input, axis)


@symbols("tile")
def tile(input: ArrayLike, multiples: Sizes) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """Repeated as a whole."""
    return jnp.tile(input, whole(multiples))


@symbols("repeat")
def repeat(input: ArrayLike, repeats: Sizes, axis: int | None = None) -> Array:  # noqa: A002 - TensorFlow's name
    """Each entry repeated."""
    return TABLE["numpy.Repeat"](x=input, repeats=repeats, axis=axis)


@symbols("reverse")
def reverse(tensor: ArrayLike, axis: Axis) -> jax.Array:
    """Reversed along axes."""
    return jnp.flip(tensor, axes_of(axis))


@symbols("roll")
def roll(input: ArrayLike, shift: Sizes, axis: Axis) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """Shifted along axes."""
    return jnp.roll(input, axes_of(shift), axes_of(axis))


@symbols("gather", "compat.v1.gather")
def gather(
    params: ArrayLike, indices: ArrayLike, axis: int | None = None, batch_dims: int = 0
) -> jax.Array:
    """The entries at positions along an axis."""
    if batch_dims:
        raise ValueError(f"batch_dims={batch_dims} of tf.gather is not supported; use 0")
    return jnp.take(params, jnp.asarray(indices), 0 if axis is None else axis)


@symbols("pad", "compat.v1.pad")
def pad(
    tensor: ArrayLike, paddings: Sizes, mode: str = "CONSTANT", constant_values: ArrayLike = 0
) -> Array:
    """With margins."""
    constant = {"constant_values": constant_values} if mode.lower() == "constant" else {}
    return TABLE["numpy.Pad"](x=tensor, pad_width=paddings, mode=mode.lower(), **constant)


@symbols("where", "compat.v1.where_v2")
def where(condition: ArrayLike, x: ArrayLike = None, y: ArrayLike = None) -> Array:
    """x where the condition holds, else y."""
    x, y = arrays_of(x, y)
    return TABLE["numpy.Where"](condition=condition, x1=x, x2=y)


@symbols("slice")
def slice_of(input_: ArrayLike, begin: Sizes, size: Sizes) -> jax.Array:
    """The part of this size from here on; -1 goes to the end."""
    starts, sizes = whole(begin), whole(size)
    ends = (
        None if count == -1 else start + count for start, count in zip(starts, sizes, strict=True)
    )
    part: jax.Array = input_[tuple(slice(*ends_of) for ends_of in zip(starts, ends, strict=True))]
    return part


@symbols("broadcast_to")
def broadcast_to(input: ArrayLike, shape: Sizes) -> jax.Array:  # noqa: A002 - TensorFlow's name
    """Repeated along axes of length 1."""
    return jnp.broadcast_to(input, whole(shape))


@symbols("shape", "compat.v1.shape")
def shape(input: ArrayLike, out_type: Any = "int32") -> np.ndarray:  # noqa: A002 - TensorFlow's name
    """The shape, which is known when the function is traced."""
    return np.asarray(np.shape(input), str(out_type))


@symbols("zeros_like", "compat.v1.zeros_like")
def zeros_like(input: ArrayLike, dtype: DTypeLike | None = None) -> Array:  # noqa: A002 - TensorFlow's name
    """Zeros in the shape of a tensor."""
    return TABLE["numpy.ZerosLike"](x=input, dtype=dtype)


@symbols("ones_like", "compat.v1.ones_like")
def ones_like(input: ArrayLike, dtype: DTypeLike | None = None) -> Array:  # noqa: A002 - TensorFlow's name
    """Ones in the shape of a tensor."""
    return TABLE["numpy.OnesLike"](x=input, dtype=dtype)


@symbols("one_hot")
def one_hot(
    indices: ArrayLike, depth: int, axis: int = -1, dtype: DTypeLike | None = None
) -> Array:
    """Indicators of categories."""
    return TABLE["nn.OneHot"](x=indices, num_classes=depth, axis=axis, dtype=dtype)
