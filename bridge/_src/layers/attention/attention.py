"""Attention and AdditiveAttention: one head, without projections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers
from jax.typing import DTypeLike

from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.registry import converts
from bridge._src.typing import Mask
from lmjax._src.typing import PyTree

#: What Keras subtracts from the scores of masked positions.
MASKED_SCORE = 1e9


def causal_mask(queries: int, keys: int) -> jax.Array:
    """(1, queries, keys): position i sees positions up to i."""
    return jnp.tril(jnp.ones((1, queries, keys), bool))


@converts("Attention")
class Attention(KerasLayer):
    """softmax(scores) @ value for inputs [query, value] or [query, value, key] (Luong et al.,
    2015).

    Parameters: scale () with ``use_scale``; concat_score_weight () with ``score_mode="concat"``.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        "inputs",
        "mask",
        "training",
        "return_attention_scores",
        "use_causal_mask",
    )
    use_scale: bool = False
    score_mode: str = "dot"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore("dropout", "seed")
        return cls(
            use_scale=config.get("use_scale", False),
            score_mode=config.require("score_mode", "dot", "concat"),
        )

    def weights(self) -> tuple[Weight, ...]:
        used = {"scale": self.use_scale, "concat_score_weight": self.score_mode == "concat"}
        return tuple(Weight(name) for name, there in used.items() if there)

    def compute_mask(self, inputs: PyTree, mask: Mask) -> jax.Array | None:
        return None if mask is None else mask[0]

    def _scores(self, query: jax.Array, key: jax.Array) -> jax.Array:
        """(batch, queries, keys)."""
        dtype = float_dtype(query)
        scale = self.param("scale", initializers.ones, (), dtype) if self.use_scale else 1.0
        if self.score_mode == "dot":
            return query @ jnp.swapaxes(key, -2, -1) * scale
        weight = self.param("concat_score_weight", initializers.ones, (), dtype)
        return weight * jnp.sum(
            jnp.tanh(scale * (query[..., :, None, :] + key[..., None, :, :])), axis=-1
        )

    @nn.compact
    def __call__(
        self,
        inputs: Sequence[jax.Array],
        mask: Mask = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> PyTree:
        query, value, *rest = inputs
        query_mask, value_mask = mask[:2] if mask is not None else (None, None)
        scores = self._scores(query, rest[0] if rest else value)
        seen = None if value_mask is None else value_mask.astype(bool)[..., None, :]
        if use_causal_mask:
            causal = causal_mask(*scores.shape[-2:])
            seen = causal if seen is None else seen & causal
        if seen is not None:
            scores = jnp.where(seen, scores, scores - MASKED_SCORE)
        weights = jax.nn.softmax(scores, axis=-1)
        outputs = weights @ value
        if query_mask is not None:
            outputs = jnp.where(query_mask.astype(bool)[..., None], outputs, 0)
        return (outputs, weights) if return_attention_scores else outputs


def _glorot_uniform_of_vector(
    key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike
) -> jax.Array:
    """As Keras draws it, with the size for both fans; JAX' own initializer takes no vectors before
    0.9.
    """
    limit = math.sqrt(3 / shape[0])
    return jax.random.uniform(key, shape, dtype, -limit, limit)


@converts("AdditiveAttention")
class AdditiveAttention(Attention):
    """Attention whose scores are Σ scale · tanh(query + key) (Bahdanau et al., 2015).

    Parameters: scale (features,) with ``use_scale``.
    """

    use_scale: bool = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore("dropout", "seed")
        return cls(use_scale=config.get("use_scale", True))

    def _scores(self, query: jax.Array, key: jax.Array) -> jax.Array:
        terms = jnp.tanh(query[..., :, None, :] + key[..., None, :, :])
        if self.use_scale:
            terms *= self.param(
                "scale", _glorot_uniform_of_vector, query.shape[-1:], float_dtype(query)
            )
        return jnp.sum(terms, axis=-1)
