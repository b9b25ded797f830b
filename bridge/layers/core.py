"""Dense, Embedding, Masking, Activation and the layers that do nothing."""

from __future__ import annotations

from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers

from bridge import activations
from bridge.activations import Activation
from bridge.layers.base import KerasLayer, LayerConfig, Weight
from bridge.layers.numerics import float_dtype
from bridge.registry import LayerRefused, converts


def refuse_adapters(config: LayerConfig) -> None:
    """Raises :class:`LayerRefused` for LoRA and quantized layers."""
    config.ignore("lora_alpha", "gptq_unpacked_column_size")
    if config.get("lora_rank"):
        raise LayerRefused("LoRA is not supported; save the model to a file and load it again to merge the low-rank update into the kernel")
    if config.get("quantization_config"):
        raise LayerRefused("quantized weights cannot be trained")


@converts("InputLayer", "Identity")
class Identity(KerasLayer):
    """The inputs, unchanged."""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls()

    def __call__(self, inputs: Any, mask: jax.Array | None = None) -> Any:
        return inputs


@converts("Activation")
class ActivationLayer(KerasLayer):
    """An activation function as a layer."""

    activation: Activation = activations.LINEAR

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(activation=activations.from_config(config.get("activation")))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return activations.apply(self.activation, inputs)


@converts("Dense")
class Dense(KerasLayer):
    """activation(inputs @ kernel + bias) over the last axis.

    Parameters: kernel (inputs, units), bias (units,).
    """

    units: int
    activation: Activation = activations.LINEAR
    use_bias: bool = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        refuse_adapters(config)
        return cls(
            units=config["units"],
            activation=activations.from_config(config.get("activation")),
            use_bias=config.get("use_bias", True),
        )

    def weights(self) -> tuple[Weight, ...]:
        return (Weight("kernel"), Weight("bias")) if self.use_bias else (Weight("kernel"),)

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        dtype = float_dtype(inputs)
        kernel = self.param("kernel", initializers.glorot_uniform(), (inputs.shape[-1], self.units), dtype)
        outputs = inputs @ kernel
        if self.use_bias:
            outputs += self.param("bias", initializers.zeros, (self.units,), dtype)
        return activations.apply(self.activation, outputs)


@converts("Embedding")
class Embedding(KerasLayer):
    """Rows of a table, selected by integer inputs of any shape; an index outside the table gives NaN.

    Parameters: embeddings (input_dim, output_dim). With ``mask_zero`` the inputs that are not 0 are the mask.
    """

    input_dim: int
    output_dim: int
    mask_zero: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        refuse_adapters(config)
        config.ignore("input_length")  # Keras 2; only a hint for the output shape
        return cls(input_dim=config["input_dim"], output_dim=config["output_dim"], mask_zero=config.get("mask_zero", False))

    def weights(self) -> tuple[Weight, ...]:
        return (Weight("embeddings"),)

    def compute_mask(self, inputs: jax.Array, mask: jax.Array | None) -> jax.Array | None:
        return inputs != 0 if self.mask_zero else None

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        shape = (self.input_dim, self.output_dim)
        embeddings = self.param("embeddings", initializers.uniform(0.05), shape, float_dtype(inputs))
        indices = inputs if jnp.issubdtype(inputs.dtype, jnp.integer) else inputs.astype(jnp.int32)
        return jnp.take(embeddings, indices, axis=0, mode="fill", fill_value=jnp.nan)


@converts("Masking")
class Masking(KerasLayer):
    """Time steps whose features all equal ``mask_value`` are set to 0 and masked for the layers that follow."""

    mask_value: float = 0.0

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(mask_value=config.get("mask_value", 0.0))

    def compute_mask(self, inputs: jax.Array, mask: jax.Array | None) -> jax.Array:
        return jnp.any(inputs != self.mask_value, axis=-1)

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return jnp.where(jnp.any(inputs != self.mask_value, axis=-1, keepdims=True), inputs, 0)
