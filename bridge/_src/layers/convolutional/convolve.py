"""The convolution that all convolutional layers call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from lmjax._src.layerwise.patches import Geometry, Padding, convolve_patches

_SPATIAL_AXES = "DHW"


def convolve(
    inputs: jax.Array,
    kernel: jax.Array,
    *,
    strides: Sequence[int] | None = None,
    padding: Padding = "VALID",
    input_dilation: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
    channels_first: bool = False,
    kernel_channels: str = "IO",
) -> jax.Array:
    """Convolution in the given data format.

    Args:
        inputs: (batch, *spatial, channels), or (batch, channels, *spatial).
        kernel: (*window, channels / groups, outputs), or in the order of ``kernel_channels``.
        strides: One per spatial axis; 1 by default.
        padding: "VALID", "SAME" or (before, after) per spatial axis.
        input_dilation: Zeros between the entries of ``inputs`` (transposed convolution).
        dilation: Zeros between the entries of ``kernel``.
        groups: Channel groups that do not mix.
        channels_first: Whether ``inputs`` and the result have their channels in axis 1.
        kernel_channels: "OI" when the kernel's output channels come before its input channels.
    """
    ones = (1,) * (inputs.ndim - 2)
    margins = (
        padding if isinstance(padding, str) else tuple((before, after) for before, after in padding)
    )
    geometry = Geometry(
        tuple(strides or ones),
        margins,
        tuple(input_dilation or ones),
        tuple(dilation or ones),
        groups,
    )
    dtype = jnp.promote_types(inputs.dtype, kernel.dtype)
    if kernel_channels == "OI":
        kernel = jnp.swapaxes(kernel, -1, -2)
    return _convolve(geometry, channels_first, inputs.astype(dtype), kernel.astype(dtype))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _convolve(
    geometry: Geometry, channels_first: bool, inputs: jax.Array, kernel: jax.Array
) -> jax.Array:
    spatial = _SPATIAL_AXES[2 - inputs.ndim :]
    layout = f"NC{spatial}" if channels_first else f"N{spatial}C"
    return lax.conv_general_dilated(
        inputs,
        kernel,
        window_strides=geometry.strides,
        padding=geometry.padding,
        lhs_dilation=geometry.input_dilation,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(layout, f"{spatial}IO", layout),
        feature_group_count=geometry.groups,
    )


@partial(_convolve.defjvp, symbolic_zeros=True)
def _convolve_jvp(
    geometry: Geometry, channels_first: bool, primals: Any, tangents: Any
) -> tuple[jax.Array, jax.Array]:
    """XLA's own convolution in the inputs, patches in the kernel: see
    lmjax/_src/layerwise/patches.py.
    """
    (inputs, kernel), (inputs_dot, kernel_dot) = primals, tangents
    outputs = _convolve(geometry, channels_first, inputs, kernel)
    outputs_dot = jnp.zeros_like(outputs)
    if not isinstance(inputs_dot, SymbolicZero):
        outputs_dot += _convolve(geometry, channels_first, inputs_dot, kernel)
    if not isinstance(kernel_dot, SymbolicZero):
        last = jnp.moveaxis(inputs, 1, -1) if channels_first else inputs
        in_kernel = convolve_patches(last, kernel_dot, geometry)
        outputs_dot += jnp.moveaxis(in_kernel, -1, 1) if channels_first else in_kernel
    return outputs, outputs_dot
