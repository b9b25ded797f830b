"""The weights into which an affine map of a layer's inputs or outputs can be folded, exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bridge._src.description.weights import Path
from bridge._src.layers import activations
from bridge._src.layers.base import KerasLayer
from bridge._src.layers.convolutional.convolution import Conv, ConvTranspose
from bridge._src.layers.core.core import Dense
from bridge._src.layers.core.wrappers import Bidirectional, TimeDistributed
from bridge._src.layers.rnn.recurrent import GRU, LSTM, RNN, SimpleRNN
from bridge._src.layers.rnn.recurrent_cells import GRUCell, LSTMCell, SimpleRNNCell
from bridge._src.training.standardization.moments import AffineMap
from lmjax._src.typing import NumpyArray

Weights = dict[Path, NumpyArray]


class NoFoldError(Exception):
    """Why there is no exact fold."""


class Site(NamedTuple):
    """A linear map within a layer: a kernel, and the bias that is added to its result.

    Attributes:
        kernel: its path.
        bias: its path; None without.
        axis: the axis of the kernel that the map is along, from the end.
        padded: whether zeros beside the inputs take part, to which a shift would not apply.
    """

    kernel: Path
    bias: Path | None
    axis: int
    padded: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of kernel and bias."""
        return (self.kernel,) if self.bias is None else (self.kernel, self.bias)

    def check_shift(self, of: AffineMap) -> None:
        """Raises :class:`NoFoldError` where a shift has no place."""
        if not of.shift.any():
            return
        if self.bias is None:
            raise NoFoldError("has no bias into which the mean could go (use_bias=False)")
        if self.padded:
            raise NoFoldError(
                "pads its inputs with zeros, which a fold could not tell from data "
                "(padding='valid' can be folded)"
            )

    def along(self, numbers: NumpyArray) -> NumpyArray:
        """``numbers``, one for each entry along :attr:`axis`, in a shape that multiplies the
        kernel.
        """
        return numbers.reshape(-1, *(1,) * (-self.axis - 1))

    def fold_inputs(self, weights: Weights, of: AffineMap, sign: int = 1) -> None:
        """Changes weights for standardised inputs into those for raw ones; with -1 back."""
        kernel = weights[self.kernel]
        scale, shift = (self.along(numbers) for numbers in of)
        raw = kernel / scale if sign > 0 else kernel
        weights[self.kernel] = raw if sign > 0 else kernel * scale
        if self.bias is None or not of.shift.any():
            return
        moved = (raw * shift).sum(axis=tuple(range(raw.ndim - 1)))
        bias = weights[self.bias].copy()
        # The first row of a GRU's two is that of the inputs.
        target = bias[0] if bias.ndim == 2 else bias
        target -= sign * moved
        weights[self.bias] = bias

    def fold_outputs(self, weights: Weights, of: AffineMap, sign: int = 1) -> None:
        """Changes weights for standardised outputs into those for raw ones; with -1 back."""
        scale = self.along(of.scale)
        kernel = weights[self.kernel]
        weights[self.kernel] = kernel * scale if sign > 0 else kernel / scale
        if self.bias is not None:
            bias = weights[self.bias]
            weights[self.bias] = (
                bias * of.scale + of.shift if sign > 0 else (bias - of.shift) / of.scale
            )


def _bias(layer: KerasLayer, path: Path) -> Path | None:
    return (*path, "bias") if layer.use_bias else None


def _no_adapter(layer: KerasLayer) -> None:
    if getattr(layer, "adapter", None) is not None:
        raise NoFoldError("has LoRA weights beside its kernel")


def _of_dense(layer: Dense, path: Path) -> list[Site]:
    _no_adapter(layer)
    return [Site((*path, "kernel"), _bias(layer, path), -2)]


def _of_conv(layer: Conv, path: Path) -> list[Site]:
    _no_adapter(layer)
    if layer.channels_first or layer.groups != 1:
        raise NoFoldError("is a convolution of groups, or with the channels first")
    return [Site((*path, "kernel"), _bias(layer, path), -2, layer.padding != "valid")]


def _of_recurrent(layer: RNN, path: Path) -> list[Site]:
    if type(layer.cell) not in (SimpleRNNCell, LSTMCell, GRUCell):
        raise NoFoldError("runs a cell that is none of SimpleRNNCell, LSTMCell and GRUCell")
    path = (*path, "cell")
    return [Site((*path, "kernel"), _bias(layer.cell, path), -2)]


def _of_bidirectional(layer: Bidirectional, path: Path) -> list[Site]:
    return [
        site
        for name, child in layer.children().items()
        for site in input_sites(child, (*path, name))
    ]


def _of_each_step(layer: TimeDistributed, path: Path) -> list[Site]:
    return input_sites(layer.layer, (*path, "layer"))


#: Layers that act on their inputs by a linear map over the last axis, with a bias, first of all.
_INPUTS: dict[type[KerasLayer], Callable[..., list[Site]]] = {
    Dense: _of_dense,
    Conv: _of_conv,
    RNN: _of_recurrent,
    SimpleRNN: _of_recurrent,
    LSTM: _of_recurrent,
    GRU: _of_recurrent,
    Bidirectional: _of_bidirectional,
    TimeDistributed: _of_each_step,
}


def input_sites(layer: KerasLayer, path: Path) -> list[Site]:
    """Where a map of the last axis of a layer's inputs goes.

    Raises:
        NoFoldError: nowhere.
    """
    found = _INPUTS.get(type(layer))
    if found is None:
        raise NoFoldError(
            "is none of the layers that can be folded (Dense, Conv1D to Conv3D, SimpleRNN, LSTM, "
            "GRU, and these in Bidirectional or TimeDistributed)"
        )
    return found(layer, path)


def last_site(layer: KerasLayer, path: Path) -> tuple[Site, bool]:
    """The kernel and the bias that a layer's outputs come from along their last axis, and whether
    nothing follows them.

    Raises:
        NoFoldError: they come from something else.
    """
    if type(layer) is TimeDistributed:
        return last_site(layer.layer, (*path, "layer"))
    if type(layer) not in (Dense, Conv, ConvTranspose):
        raise NoFoldError(
            "is none of the layers that can be folded at the end (Dense, Conv1D to Conv3D, their "
            "transposes, and these in TimeDistributed)"
        )
    _no_adapter(layer)
    if getattr(layer, "channels_first", False):
        raise NoFoldError("has the channels first")
    axis = -2 if type(layer) is ConvTranspose else -1
    linear = layer.activation == activations.LINEAR
    return Site((*path, "kernel"), _bias(layer, path), axis), linear


def penalty_factors(
    factors: NumpyArray, site: Site, of: AffineMap, power: int, at_the_end: bool
) -> NumpyArray:
    """The factors of Σ factor · |kernel|^power, of the raw kernel, as those of the standardised
    one.
    """
    scale = site.along(of.scale)
    return np.asarray(factors * (scale if at_the_end else 1 / scale) ** power)
