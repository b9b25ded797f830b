"""Fourier transforms of real and imaginary parts, and what they are taken of."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from bridge._src.layers.numerics import check_table
from bridge._src.operations.table import function, named
from lmjax._src.typing import ArrayLike


def _complex(x: ArrayLike) -> jax.Array:
    real, imaginary = x
    return lax.complex(real, imaginary)


def _parts(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.real(values), jnp.imag(values)


named(
    "math",
    "x",
    {
        "FFT": lambda x: _parts(jnp.fft.fft(_complex(x))),
        "FFT2": lambda x: _parts(jnp.fft.fft2(_complex(x))),
        "IFFT2": lambda x: _parts(jnp.fft.ifft2(_complex(x))),
    },
)


@function("math.RFFT")
def rfft(x: jax.Array, fft_length: int | None = None) -> tuple[jax.Array, jax.Array]:
    """The transform of real numbers."""
    return _parts(jnp.fft.rfft(x, fft_length))


@function("math.IRFFT")
def irfft(x: ArrayLike, fft_length: int | None = None) -> jax.Array:
    """The real numbers with this transform."""
    return jnp.fft.irfft(_complex(x), fft_length)


def _frames(x: jax.Array, length: int, stride: int) -> jax.Array:
    count = max(1 + (x.shape[-1] - length) // stride, 0)
    check_table(count, length)
    return x[..., np.arange(count)[:, None] * stride + np.arange(length)]


@function("math.ExtractSequences")
def extract_sequences(x: jax.Array, sequence_length: int, sequence_stride: int) -> jax.Array:
    """The sequences of a length that begin at every stride."""
    return _frames(x, sequence_length, sequence_stride)


def _window(window: Any, length: int, fft_length: int, dtype: DTypeLike) -> jax.Array:
    """The window in the middle of a frame of the length of the transform."""
    check_table(fft_length)
    angle = 2 * np.pi * np.arange(length) / length
    before = (fft_length - length) // 2
    margins = (before, fft_length - length - before)
    if window is None:
        return jnp.ones(fft_length, dtype)
    named = {"hann": 0.5 - 0.5 * np.cos(angle), "hamming": 0.54 - 0.46 * np.cos(angle)}
    values = jnp.asarray(named[window] if isinstance(window, str) else window, dtype)
    return jnp.pad(values, margins)


@function("math.STFT")
def stft(
    x: jax.Array,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """The transforms of overlapping windows."""
    if center:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(fft_length // 2, fft_length // 2)], "reflect")
    frames = _frames(x, fft_length, sequence_stride)
    return _parts(jnp.fft.rfft(frames * _window(window, sequence_length, fft_length, x.dtype)))


@function("math.ISTFT")
def istft(
    x: ArrayLike,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> jax.Array:
    """The sequence whose overlapping windows have these transforms."""
    frames = jnp.fft.irfft(_complex(x), fft_length)
    count, dtype = frames.shape[-2], frames.dtype
    if window is not None:
        values = _window(window, sequence_length, fft_length, dtype)
        # The windows that lie over one place, one stride apart, have this sum of squares
        # (TensorFlow's inverse_stft_window_fn).
        overlaps = -(-fft_length // sequence_stride)
        squares = (
            jnp.pad(values**2, (0, overlaps * sequence_stride - fft_length))
            .reshape(overlaps, sequence_stride)
            .sum(axis=0)
        )
        frames = frames * values / jnp.tile(squares, overlaps)[:fft_length]
    places = np.arange(count)[:, None] * sequence_stride + np.arange(fft_length)
    total = fft_length + sequence_stride * (count - 1)
    sequence = jnp.zeros((*frames.shape[:-2], total), dtype).at[..., places].add(frames)
    start = fft_length // 2 if center else 0
    end = start + length if length is not None else total - (fft_length // 2 if center else 0)
    return sequence[..., start:end]
