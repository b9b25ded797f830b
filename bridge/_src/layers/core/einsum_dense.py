"""EinsumDense."""

from __future__ import annotations

import math
from typing import Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers

from bridge._src.layers import activations
from bridge._src.layers.activations import Activation
from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.lora import Adapter, adapted, adapter_of, adapter_weights
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.registry import converts
from bridge._src.typing import Mask
from lmjax._src.typing import PyTree


@converts("EinsumDense")
class EinsumDense(KerasLayer):
    """activation(einsum(equation, inputs, kernel) + bias); drops the mask.

    Parameters: kernel (one axis for each of its letters), bias (the output's axes from the first of
    ``bias_axes`` on, of length 1 where they have no bias).
    """

    equation: str
    output_shape: tuple[int | None, ...]
    bias_axes: str | None = None
    activation: Activation = activations.LINEAR
    adapter: Adapter | None = None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        output_shape = config["output_shape"]
        return cls(
            equation=config["equation"].replace(" ", ""),
            output_shape=(output_shape,) if isinstance(output_shape, int) else tuple(output_shape),
            bias_axes=config.get("bias_axes"),
            activation=activations.from_config(config.get("activation")),
            adapter=adapter_of(config),
        )

    def weights(self) -> tuple[Weight, ...]:
        own = (Weight("kernel"), Weight("bias")) if self.bias_axes else (Weight("kernel"),)
        return (*own, *adapter_weights(self.adapter, "kernel"))

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None

    def _kernel_shape(self, inputs: jax.Array, letters: tuple[str, str, str]) -> tuple[int, ...]:
        source, kernel, target = letters
        # An ellipsis at the end of the inputs leaves their first axes in place, one at the start
        # leaves the last.
        sizes = dict(
            zip(
                source.strip("."),
                inputs.shape if source.endswith("...") else inputs.shape[-len(source.strip(".")) :],
                strict=False,
            )
        )
        named = target.strip(".")
        given = (
            (None, *self.output_shape)
            if target.endswith("...")
            else self.output_shape[-len(named) :]
        )
        offset = max(0, len(named) - len(given))
        outputs = dict(zip(named[offset:], given, strict=False))
        return tuple(
            sizes[letter] if letter in sizes else int(outputs[letter] or 0) for letter in kernel
        )

    def _bias_shape(self, outputs: jax.Array, target: str) -> tuple[int, ...]:
        named, biased = target.strip("."), self.bias_axes or ""
        right_elided = target.endswith("...")
        sizes = dict(
            zip(
                named, outputs.shape if right_elided else outputs.shape[-len(named) :], strict=False
            )
        )
        first = min(named.find(letter) for letter in biased)
        shape = [sizes[letter] if letter in biased else 1 for letter in named[first:]]
        return (*shape, *(1,) * (outputs.ndim - len(named) if right_elided else 0))

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        sources, target = self.equation.split("->")
        source, letters = sources.split(",")
        dtype = float_dtype(inputs)
        shape = self._kernel_shape(inputs, (source, letters, target))
        kernel = self.param(
            "kernel", initializers.normal(1 / math.sqrt(max(inputs.shape[-1], 1))), shape, dtype
        )
        outputs = jnp.einsum(self.equation, inputs, adapted(self, self.adapter, "kernel", kernel))
        if self.bias_axes:
            outputs += self.param(
                "bias", initializers.zeros, self._bias_shape(outputs, target), dtype
            )
        return activations.apply(self.activation, outputs)
