"""Discretization and CategoryEncoding: numbers to categories to indicator vectors. No derivative
reaches their inputs.
"""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp

from bridge._src.description.constants import single
from bridge._src.description.errors import LayerRefused
from bridge._src.layers.base import KerasLayer, LayerConfig
from bridge._src.layers.registry import converts
from bridge._src.typing import Mask
from lmjax._src.typing import PyTree


def encode(indices: jax.Array, mode: str, depth: int) -> jax.Array:
    """Indices (batch, …) as they are, or as indicators or counts over ``depth`` categories in the
    last axis.

    An index outside the categories counts for none.
    """
    dtype = jnp.result_type(float)
    if mode == "int":
        return indices
    if mode == "one_hot":
        squeezed = indices[..., 0] if indices.ndim > 1 and indices.shape[-1] == 1 else indices
        return jax.nn.one_hot(squeezed, depth, dtype=dtype)
    indicators = jax.nn.one_hot(
        indices if indices.ndim > 1 else indices[:, None], depth, dtype=dtype
    )
    return jnp.max(indicators, axis=-2) if mode == "multi_hot" else jnp.sum(indicators, axis=-2)


class Categorical(KerasLayer):
    """A layer whose outputs are categories; it drops masks."""

    output_mode: str

    def compute_mask(self, inputs: PyTree, mask: Mask) -> None:
        return None


@converts("Discretization")
class Discretization(Categorical):
    """The number of the bin in which each entry lies; a boundary belongs to the bin above it."""

    boundaries: tuple[float, ...] = ()

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore("num_bins", "epsilon")
        boundaries = config.get("bin_boundaries")
        if boundaries is None:
            raise LayerRefused("its bins were never adapted to data; call adapt(data) before")
        mode = config.require("output_mode", "int", "one_hot", "multi_hot", "count")
        return cls(output_mode=mode, boundaries=tuple(single(boundary) for boundary in boundaries))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        bins = jnp.searchsorted(jnp.asarray(self.boundaries, inputs.dtype), inputs, side="right")
        return encode(bins, self.output_mode, len(self.boundaries) + 1)


@converts("CategoryEncoding")
class CategoryEncoding(Categorical):
    """Indicators or counts of integer categories."""

    num_tokens: int = 1

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        mode = config.require("output_mode", "multi_hot", "one_hot", "count", "binary")
        return cls(
            output_mode="multi_hot" if mode == "binary" else mode, num_tokens=config["num_tokens"]
        )

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return encode(inputs.astype(jnp.int32), self.output_mode, self.num_tokens)
