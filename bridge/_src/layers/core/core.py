"""Dense, Embedding, Masking, Activation and the layers that do nothing."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers
from jax.typing import DTypeLike

from bridge._src.layers import activations
from bridge._src.layers.activations import Activation
from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.lora import Adapter, adapted, adapter_of, adapter_weights
from bridge._src.layers.numerics import float_dtype, note_indices
from bridge._src.layers.registry import converts
from lmjax._src.typing import PyTree


@converts("InputLayer", "Identity")
class Identity(KerasLayer):
    """The inputs, unchanged."""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls()

    def __call__(self, inputs: PyTree, mask: jax.Array | None = None) -> PyTree:
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
    adapter: Adapter | None = None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(
            units=config["units"],
            activation=activations.from_config(config.get("activation")),
            use_bias=config.get("use_bias", True),
            adapter=adapter_of(config),
        )

    def weights(self) -> tuple[Weight, ...]:
        own = (Weight("kernel"), Weight("bias")) if self.use_bias else (Weight("kernel"),)
        return (*own, *adapter_weights(self.adapter, "kernel"))

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        dtype = float_dtype(inputs)
        kernel = self.param(
            "kernel", initializers.glorot_uniform(), (inputs.shape[-1], self.units), dtype
        )
        outputs = inputs @ adapted(self, self.adapter, "kernel", kernel)
        if self.use_bias:
            outputs += self.param("bias", initializers.zeros, (self.units,), dtype)
        return activations.apply(self.activation, outputs)


@converts("Embedding")
class Embedding(KerasLayer):
    """Rows of a table, selected by integer inputs of any shape; an index outside the table gives
    NaN.

    Parameters: embeddings (input_dim, output_dim). With ``mask_zero`` the inputs that are not 0 are
    the mask.
    """

    input_dim: int
    output_dim: int
    mask_zero: bool = False
    adapter: Adapter | None = None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(**cls._options(config))

    @staticmethod
    def _options(config: LayerConfig) -> dict[str, Any]:
        config.ignore("input_length")  # Keras 2; only a hint for the output shape
        sizes = {name: config[name] for name in ("input_dim", "output_dim")}
        return {**sizes, "mask_zero": config.get("mask_zero", False), "adapter": adapter_of(config)}

    def weights(self) -> tuple[Weight, ...]:
        return (Weight("embeddings"), *adapter_weights(self.adapter, "embeddings"))

    def compute_mask(self, inputs: jax.Array, mask: jax.Array | None) -> jax.Array | None:
        return inputs != 0 if self.mask_zero else None

    def takes_indices(self) -> bool:
        return True

    @nn.compact
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        note_indices(self, inputs, self.input_dim)
        return look_up(self._table(float_dtype(inputs)), inputs)

    def _table(self, dtype: DTypeLike) -> jax.Array:
        table = self.param(
            "embeddings", initializers.uniform(0.05), (self.input_dim, self.output_dim), dtype
        )
        return adapted(self, self.adapter, "embeddings", table)


def look_up(table: jax.Array, inputs: jax.Array) -> jax.Array:
    """The rows of ``table`` at the indices ``inputs``; NaN for an index outside of it."""
    indices = inputs if jnp.issubdtype(inputs.dtype, jnp.integer) else inputs.astype(jnp.int32)
    return jnp.take(table, indices, axis=0, mode="fill", fill_value=jnp.nan)


@converts("ReversibleEmbedding")
class ReversibleEmbedding(Embedding):
    """An embedding that also runs backwards, from vectors to logits, when called with
    ``reverse=True``.

    Parameters: embeddings (input_dim, output_dim); without ``tie_weights`` also reverse_embeddings
    (output_dim, input_dim).
    """

    arguments: ClassVar[tuple[str, ...]] = ("inputs", "reverse")
    tie_weights: bool = True
    logit_soft_cap: float | None = None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        # Reduced precision is computed in the precision of the model.
        config.ignore("reverse_dtype")
        tie_weights, cap = config.get("tie_weights", True), config.get("logit_soft_cap")
        return cls(tie_weights=tie_weights, logit_soft_cap=cap, **cls._options(config))

    def weights(self) -> tuple[Weight, ...]:
        first, *adapter = super().weights()
        return (first, *(() if self.tie_weights else (Weight("reverse_embeddings"),)), *adapter)

    @nn.compact
    def __call__(
        self, inputs: jax.Array, mask: jax.Array | None = None, reverse: bool = False
    ) -> jax.Array:
        dtype = float_dtype(inputs)
        table = self._table(dtype)
        back = table.T
        if not self.tie_weights:
            back = self.param("reverse_embeddings", initializers.uniform(0.05), back.shape, dtype)
        if not reverse:
            note_indices(self, inputs, self.input_dim)
            return look_up(table, inputs)
        logits = inputs @ back
        return (
            logits
            if self.logit_soft_cap is None
            else jnp.tanh(logits / self.logit_soft_cap) * self.logit_soft_cap
        )


@converts("Masking")
class Masking(KerasLayer):
    """Time steps whose features all equal ``mask_value`` are set to 0 and masked for the layers
    that follow.
    """

    mask_value: float = 0.0

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(mask_value=config.get("mask_value", 0.0))

    def compute_mask(self, inputs: jax.Array, mask: jax.Array | None) -> jax.Array:
        # Keras compares in single precision; in double, inputs that were rounded to it differ from
        # a value such as 0.1.
        rounded = float(np.float32(self.mask_value))
        return jnp.any((inputs != self.mask_value) & (inputs != rounded), axis=-1)

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return jnp.where(self.compute_mask(inputs, mask)[..., None], inputs, 0)
