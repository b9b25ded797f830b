"""Image interpolation as one small matrix for each spatial axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from bridge._src.layers.numerics import check_table

Floats = NDArray[np.floating[Any]]

#: Entries per unit of TensorFlow's table of bicubic weights
#: (``tensorflow/core/kernels/image/resize_bicubic_op.cc``).
BICUBIC_TABLE = 1024
#: Keys' cubic kernel (Keys, 1981) with A = -1/2, the variant of TensorFlow's half-pixel bicubic
#: resizing.
KEYS = -0.5


def _triangle(distance: Floats) -> Floats:
    triangle: Floats = np.maximum(0.0, 1.0 - np.abs(distance))
    return triangle


def _keys(distance: Floats) -> Floats:
    x = np.abs(distance)
    near = ((KEYS + 2) * x - (KEYS + 3)) * x * x + 1
    far = ((KEYS * x - 5 * KEYS) * x + 8 * KEYS) * x - 4 * KEYS
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _lanczos(radius: int) -> Callable[[Floats], Floats]:
    return lambda distance: np.where(
        np.abs(distance) < radius, np.sinc(distance) * np.sinc(distance / radius), 0.0
    )


#: Interpolation kernels by Keras' names.
KERNELS: Mapping[str, Callable[[Floats], Floats]] = {
    "bilinear": _triangle,
    "bicubic": _keys,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}


def interpolation_matrix(
    size_in: int, size_out: int, interpolation: str, antialias: bool = False
) -> Floats:
    """The float64 matrix (size_out, size_in) that resamples one axis, pixel centres at ½.

    Weights outside the image are dropped and the rest scaled to sum to one. Antialiasing widens the
    kernel where the axis shrinks. Without it bicubic offsets are rounded to TensorFlow's table.
    """
    check_table(size_in, size_out)
    centre = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
    if interpolation == "bicubic" and not antialias:
        base = np.floor(centre)
        centre = base + np.floor((centre - base) * BICUBIC_TABLE + 0.5) / BICUBIC_TABLE
    width = max(size_in / size_out, 1.0) if antialias else 1.0
    weights: Floats = KERNELS[interpolation]((centre[:, None] - np.arange(size_in)) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def resize_nearest(inputs: jax.Array, sizes: Mapping[int, int]) -> jax.Array:
    """``inputs`` with each axis in ``sizes`` resampled to its new size by the nearest entry."""
    for axis, size in sizes.items():
        check_table(size)
        nearest = np.floor((np.arange(size) + 0.5) * (inputs.shape[axis] / size)).astype(int)
        inputs = jnp.take(inputs, np.minimum(nearest, inputs.shape[axis] - 1), axis=axis)
    return inputs


def resize(
    inputs: jax.Array, sizes: Mapping[int, int], interpolation: str, antialias: bool = False
) -> jax.Array:
    """``inputs`` with each axis in ``sizes`` resampled to its new size."""
    for axis, size in sizes.items():
        matrix = jnp.asarray(
            interpolation_matrix(inputs.shape[axis], size, interpolation, antialias), inputs.dtype
        )
        inputs = jnp.moveaxis(jnp.tensordot(inputs, matrix, axes=(axis, 1)), -1, axis)
    return inputs
