"""STFTSpectrogram and MelSpectrogram."""

from __future__ import annotations

import math
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers

from bridge._src.description.errors import LayerRefused
from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.convolutional.convolve import convolve
from bridge._src.layers.numerics import check_table, float_dtype, rounded_constant
from bridge._src.layers.pieces import joined
from bridge._src.layers.registry import converts
from bridge._src.typing import Mask
from lmjax._src.typing import PyTree

#: ``keras.config.epsilon()``: the smallest power and magnitude of a spectrogram.
SMALLEST = 1e-7
#: Constants of the mel scale in the Hidden Markov Model Toolkit: mel = Q ln(1 + hertz / break).
MEL_BREAK_HERTZ, MEL_Q = 700.0, 1127.0


@converts("STFTSpectrogram")
class STFTSpectrogram(KerasLayer):
    """Short-time Fourier transform of each channel of (batch, time, channels) as two convolutions.

    Parameters: real_kernel and imag_kernel (frame_length, 1, frequencies); Keras trains them unless
    they are frozen.
    """

    frame_length: int
    frame_step: int
    frequencies: int
    mode: str = "log"
    padding: str = "valid"
    expand_dims: bool = False
    channels_first: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore("window", "periodic", "scaling")  # these are in the kernels
        frame_length = config.get("frame_length", 256)
        fft_length = config.get("fft_length") or 2 ** math.ceil(math.log2(frame_length))
        return cls(
            frame_length=frame_length,
            frame_step=config.get("frame_step") or frame_length // 2,
            frequencies=fft_length // 2 + 1,
            mode=config.require("mode", "log", "magnitude", "psd", "real", "imag", "angle", "stft"),
            padding=config.require("padding", "valid", "same"),
            expand_dims=config.get("expand_dims", False),
            channels_first=config.get("data_format") == "channels_first",
        )

    def weights(self) -> tuple[Weight, ...]:
        names = {"imag": ("imag_kernel",), "real": ("real_kernel",)}.get(
            self.mode, ("real_kernel", "imag_kernel")
        )
        return tuple(Weight(name) for name in names)

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        signal = inputs if self.channels_first else jnp.swapaxes(inputs, 1, 2)
        batch, channels, time = signal.shape
        signals = signal.reshape(batch * channels, time, 1)
        shape = (self.frame_length, 1, self.frequencies)
        parts = []
        for weight in self.weights():
            kernel = self.param(weight.name, initializers.normal(), shape, float_dtype(inputs))
            part = convolve(
                signals, kernel, strides=(self.frame_step,), padding=self.padding.upper()
            )
            parts.append(part.reshape(batch, channels, *part.shape[1:]))
        return self._arranged(self._spectrum(parts))

    def _spectrum(self, parts: list[jax.Array]) -> jax.Array:
        """(batch, channels, time, frequencies)."""
        if self.mode in ("real", "imag"):
            return parts[0]
        real, imag = parts
        if self.mode == "angle":
            return jnp.arctan2(imag, real)
        if self.mode == "stft":
            return joined([real, imag])
        power = real**2 + imag**2
        if self.mode == "psd":  # one-sided: all but the first and the last frequency count twice
            return power + jnp.pad(power[..., 1:-1], [(0, 0)] * 3 + [(1, 1)])
        magnitude = jnp.sqrt(jnp.maximum(power, SMALLEST))
        return magnitude if self.mode == "magnitude" else jnp.log(jnp.maximum(magnitude, SMALLEST))

    def _arranged(self, spectrum: jax.Array) -> jax.Array:
        batch, channels, time, frequencies = spectrum.shape
        if self.expand_dims:
            return spectrum if self.channels_first else jnp.transpose(spectrum, (0, 2, 3, 1))
        if self.channels_first:
            return jnp.swapaxes(spectrum, 2, 3).reshape(batch, channels * frequencies, time)
        return jnp.transpose(spectrum, (0, 2, 1, 3)).reshape(batch, time, channels * frequencies)


@converts("MelSpectrogram")
class MelSpectrogram(KerasLayer):
    """Spectrograms of signals (…, time) on the mel scale, (…, mel bins, time).

    With ``top_db`` the loudest entry of the whole batch sets the floor of all, so that a sample's
    outputs depend on the batch it stands in, as in Keras.
    """

    fft_length: int
    stride: int
    window: Any
    window_length: int
    sampling_rate: int
    bins: int
    frequencies: tuple[float, float]
    exponent: float
    decibels: tuple[float, float, float] | None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        fft_length, rate = config.get("fft_length", 2048), config.get("sampling_rate", 16000)
        window = config.get("window", "hann")
        if isinstance(window, str) and window not in ("hann", "hamming"):
            raise LayerRefused(f"window={window!r} is not supported")
        decibels = (
            config.get("min_power", 1e-10),
            config.get("ref_power", 1.0),
            config.get("top_db", 80.0),
        )
        return cls(
            fft_length=fft_length,
            stride=config.get("sequence_stride", 512),
            window=window
            if window is None or isinstance(window, str)
            else rounded_constant(window),
            window_length=config.get("sequence_length") or fft_length,
            sampling_rate=rate,
            bins=config.get("num_mel_bins", 128),
            frequencies=(config.get("min_freq", 20.0), config.get("max_freq") or int(rate / 2)),
            exponent=config.get("mag_exp", 2.0),
            decibels=decibels if config.get("power_to_db", True) else None,
        )

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None

    def _window(self) -> np.ndarray:
        angle = 2 * np.pi * np.arange(self.window_length) / self.window_length
        named = {
            "hann": 0.5 - 0.5 * np.cos(angle),
            "hamming": 0.54 - 0.46 * np.cos(angle),
            None: np.ones(self.fft_length),
        }
        window = (
            named[self.window]
            if self.window is None or isinstance(self.window, str)
            else np.asarray(self.window)
        )
        before = (self.fft_length - len(window)) // 2
        return np.pad(window, (before, self.fft_length - len(window) - before))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        half = self.fft_length // 2
        check_table(
            self.fft_length,
            max(
                self.bins,
                inputs.shape[-1] // max(self.stride, 1),
                self.window_length // self.fft_length,
            ),
        )
        padded = jnp.pad(inputs, [(0, 0)] * (inputs.ndim - 1) + [(half, half)], mode="reflect")
        starts = np.arange(0, padded.shape[-1] - self.fft_length + 1, self.stride)
        frames = padded[..., starts[:, None] + np.arange(self.fft_length)] * jnp.asarray(
            self._window(), inputs.dtype
        )
        transformed = jnp.fft.rfft(frames)
        power = (transformed.real**2 + transformed.imag**2) ** (self.exponent / 2)
        mel = power @ jnp.asarray(
            mel_matrix(self.bins, half + 1, self.sampling_rate, *self.frequencies), inputs.dtype
        )
        if self.decibels is not None:
            smallest, reference, top = self.decibels
            mel = 10 * jnp.log10(jnp.maximum(mel, smallest)) - 10 * math.log10(
                max(abs(reference), smallest)
            )
            mel = jnp.maximum(mel, jnp.max(mel) - top)
        return jnp.swapaxes(mel, -1, -2)


def mel_matrix(bins: int, frequencies: int, rate: int, lowest: float, highest: float) -> np.ndarray:
    """Triangles (frequencies, bins), evenly spaced on the mel scale, that weigh the frequencies 0 …
    rate / 2.
    """

    def mel(hertz: Any) -> Any:
        return MEL_Q * np.log(1 + hertz / MEL_BREAK_HERTZ)

    lines = mel(np.linspace(0, rate / 2, frequencies))[1:, None]
    edges = np.linspace(mel(lowest), mel(highest), bins + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    slopes = np.minimum((lines - low) / (centre - low), (high - lines) / (high - centre))
    return np.pad(np.maximum(slopes, 0), [(1, 0), (0, 0)])
