"""LoRA: a kernel K used as K + α/r · A B, where A and B are trained and K is frozen (Hu et al.,
2021).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import initializers

from bridge._src.description.config import policy_name
from bridge._src.description.errors import LayerRefused
from bridge._src.layers.base import KerasLayer, LayerConfig, Weight


class Adapter(NamedTuple):
    """The rank r and the scale α of a low-rank update."""

    rank: int
    alpha: float
    #: Whether the layer is one of double precision: A and B are float32 in Keras whatever the layer
    #: is, and so is then their product.
    single: bool = False


def adapter_of(config: LayerConfig) -> Adapter | None:
    """The adapter in a Keras config, if there is one; refuses quantized layers."""
    config.ignore("gptq_unpacked_column_size")
    if config.get("quantization_config"):
        raise LayerRefused("quantized weights cannot be trained")
    rank, alpha = config.get("lora_rank"), config.get("lora_alpha")
    return (
        Adapter(
            rank, rank if alpha is None else alpha, policy_name(config.get("dtype")) == "float64"
        )
        if rank
        else None
    )


def adapter_weights(adapter: Adapter | None, name: str) -> tuple[Weight, ...]:
    """The weights that an adapter of the weight ``name`` adds behind those of its layer."""
    return () if adapter is None else (Weight(f"lora_{name}_a"), Weight(f"lora_{name}_b"))


def adapted(layer: KerasLayer, adapter: Adapter | None, name: str, kernel: jax.Array) -> jax.Array:
    """``kernel`` with its low-rank update; called from the compact ``__call__`` of ``layer``.

    Parameters: lora_<name>_a (*kernel.shape[:-1], rank), lora_<name>_b (rank, kernel.shape[-1]).
    """
    if adapter is None:
        return kernel
    down = layer.param(
        f"lora_{name}_a",
        initializers.he_uniform(),
        (*kernel.shape[:-1], adapter.rank),
        kernel.dtype,
    )
    up = layer.param(
        f"lora_{name}_b", initializers.zeros, (adapter.rank, kernel.shape[-1]), kernel.dtype
    )
    if adapter.single:
        down, up = down.astype(jnp.float32), up.astype(jnp.float32)
    update = (adapter.alpha / adapter.rank) * (down @ up)
    updated: jax.Array = kernel + update.astype(kernel.dtype)
    return updated
