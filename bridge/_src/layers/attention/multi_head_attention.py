"""MultiHeadAttention and GroupQueryAttention."""

from __future__ import annotations

import math
import string
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers

from bridge._src.description.constants import single
from bridge._src.layers import activations
from bridge._src.layers.activations import Activation
from bridge._src.layers.attention.attention import causal_mask
from bridge._src.layers.base import KerasLayer, LayerConfig, Weight
from bridge._src.layers.core.activation_layers import masked_softmax
from bridge._src.layers.numerics import float_dtype
from bridge._src.layers.registry import converts
from bridge._src.typing import Mask
from lmjax._src.typing import PyTree

#: The score of masked positions in Keras' fused attention; every position gets the same weight
#: where all are masked.
MASKED_SCORE = -3.38953e38


class Projection(KerasLayer):
    """activation(inputs · kernel + bias), contracted over the last axes.

    Parameters: kernel (*contracted axes, *outputs), bias (*outputs,).
    """

    axes: int = 1
    use_bias: bool = True
    activation: Activation = activations.LINEAR

    def weights(self) -> tuple[Weight, ...]:
        return (Weight("kernel"), Weight("bias")) if self.use_bias else (Weight("kernel"),)

    @nn.compact
    def __call__(
        self, inputs: jax.Array, mask: Mask = None, outputs: tuple[int, ...] = ()
    ) -> jax.Array:
        dtype = float_dtype(inputs)
        kernel = self.param(
            "kernel", initializers.glorot_uniform(), (*inputs.shape[-self.axes :], *outputs), dtype
        )
        projected = jnp.tensordot(inputs, kernel, self.axes)
        if self.use_bias:
            projected += self.param("bias", initializers.zeros, outputs, dtype)
        return activations.apply(self.activation, projected)


class ProjectedAttention(KerasLayer):
    """What MultiHeadAttention and GroupQueryAttention share: projections, masks, softmax."""

    arguments: ClassVar[tuple[str, ...]] = (
        *("query", "value", "key", "query_mask", "value_mask", "key_mask"),
        *("attention_mask", "return_attention_scores", "training", "use_causal_mask"),
    )
    query_dense: Projection
    key_dense: Projection
    gate_dense: Projection | None
    value_dense: Projection
    output_dense: Projection
    num_heads: int
    key_dim: int
    dropout: bool = False
    sliding_window: int | None = None

    @classmethod
    def _options(cls, config: LayerConfig) -> dict[str, Any]:
        config.ignore("seed", "flash_attention")
        use_bias = config.get("use_bias", True)
        # One module for each: Flax would share the parameters of a module that stands in two
        # fields.
        return {
            "query_dense": Projection(use_bias=use_bias),
            "key_dense": Projection(use_bias=use_bias),
            "gate_dense": Projection(use_bias=use_bias, activation="sigmoid")
            if config.get("use_gate")
            else None,
            "value_dense": Projection(use_bias=use_bias),
            "output_dense": Projection(axes=2, use_bias=use_bias),
            "dropout": config.get("dropout", 0.0) > 0,
            "sliding_window": config.get("sliding_window"),
        }

    def _heads(self, key: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Projected keys and values, one for each query head."""
        raise NotImplementedError(f"{type(self).__name__}._heads")

    def _axes(self, rank: int) -> tuple[int, ...]:
        """The axes of the projected tensors along which attention looks."""
        return (1,)

    def _value_dim(self) -> int:
        return self.key_dim

    def _outputs(self, query: jax.Array) -> tuple[int, ...]:
        return query.shape[-1:]

    def __call__(  # type: ignore[override]  # value is always there
        self,
        inputs: jax.Array,
        mask: Mask = None,
        *,
        value: jax.Array,
        key: jax.Array | None = None,
        query_mask: jax.Array | None = None,
        value_mask: jax.Array | None = None,
        key_mask: jax.Array | None = None,
        attention_mask: jax.Array | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> PyTree:
        query = self.query_dense(inputs, outputs=(self.num_heads, self.key_dim))
        seen = self._seen(
            inputs, value, query_mask, [value_mask, key_mask], attention_mask, use_causal_mask
        )
        keys, values = self._heads(value if key is None else key, value)
        # Keras has two ways that differ where everything is masked: equal weights, or (with
        # dropout, scores or more axes) no weight at all.
        fused = not (self.dropout or return_attention_scores or query.ndim != 4)
        outputs, scores = attend(query, keys, values, self._axes(values.ndim), seen, fused)
        if self.gate_dense is not None:
            outputs *= self.gate_dense(inputs, outputs=(self.num_heads, self._value_dim()))
        projected = self.output_dense(outputs, outputs=self._outputs(inputs))
        return (projected, scores) if return_attention_scores else projected

    def _seen(
        self,
        query: jax.Array,
        value: jax.Array,
        query_mask: jax.Array | None,
        key_masks: list[jax.Array | None],
        attention_mask: jax.Array | None,
        causal: bool,
    ) -> jax.Array | None:
        """Which query sees which key, (batch, queries, keys); None when each sees all."""
        lengths = query.shape[1], value.shape[1]
        masks = [] if query_mask is None else [query_mask.astype(bool)[..., None]]
        masks += [mask.astype(bool)[..., None, :] for mask in key_masks if mask is not None]
        if causal:
            masks.append(causal_mask(*lengths))
        if self.sliding_window is not None:
            distance = jnp.abs(jnp.arange(lengths[0])[:, None] - jnp.arange(lengths[1]))
            masks.append((distance < self.sliding_window)[None])
        if attention_mask is not None:
            masks.insert(0, attention_mask.astype(bool))
        seen = None
        for mask in masks:
            seen = mask if seen is None else seen & mask
        return seen


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    axes: tuple[int, ...],
    seen: jax.Array | None,
    fused: bool,
) -> tuple[jax.Array, jax.Array]:
    """Scaled dot-product attention (Vaswani et al., 2017).

    Args:
        query: (batch, *axes, heads, key_dim).
        key: Like ``query``, with other lengths of the ``axes`` of attention.
        value: Like ``key``, with its own last axis.
        axes: The axes of attention.
        seen: Boolean, broadcasts to the scores (batch…, heads, queries…, keys…); missing axes are
            put before the queries.
        fused: Whether a query that sees nothing gets the mean of all values, as in Keras' fused
            attention, or 0.

    Returns:
        The attended values, shaped like ``query``, and the weights.
    """
    letters = string.ascii_lowercase
    target = letters[: query.ndim]
    source = "".join(
        letters[query.ndim + axis] if axis in axes else letter for axis, letter in enumerate(target)
    )
    batch = "".join(letter for axis, letter in enumerate(target[:-1]) if axis not in axes)
    product = (
        batch + "".join(target[axis] for axis in axes) + "".join(source[axis] for axis in axes)
    )
    scores = jnp.einsum(f"{source},{target}->{product}", key, query) * single(
        1 / math.sqrt(query.shape[-1])
    )
    if seen is not None:
        for _ in range(scores.ndim - seen.ndim):
            seen = jnp.expand_dims(seen, -2 * len(axes) - 1)
    over = tuple(range(scores.ndim - len(axes), scores.ndim))
    if fused:
        weights = jax.nn.softmax(
            scores if seen is None else jnp.where(seen, scores, MASKED_SCORE), axis=over
        )
    else:
        weights = masked_softmax(scores, seen, over)
    return jnp.einsum(f"{product},{source}->{target}", weights, value), weights


@converts("MultiHeadAttention")
class MultiHeadAttention(ProjectedAttention):
    """Attention with several heads; query (batch, queries, features), value and key (batch, keys,
    features).

    Parameters: kernel and bias of query_dense, key_dense (features, heads, key_dim), value_dense
    (features, heads, value_dim), output_dense (heads, value_dim, *outputs), and with ``use_gate``
    gate_dense.
    """

    value_dim: int = 1
    output_shape: tuple[int, ...] | None = None
    attention_axes: tuple[int, ...] | None = None
    keeps_masks: bool = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        key_dim, output_shape, axes = (
            config["key_dim"],
            config.get("output_shape"),
            config.get("attention_axes"),
        )
        return cls(
            num_heads=config["num_heads"],
            key_dim=key_dim,
            value_dim=config.get("value_dim") or key_dim,
            output_shape=(output_shape,)
            if isinstance(output_shape, int)
            else tuple(output_shape)
            if output_shape
            else None,
            attention_axes=None
            if axes is None
            else (axes,)
            if isinstance(axes, int)
            else tuple(axes),
            keeps_masks=config.get("keeps_masks", False),  # set by the reader of Keras 2
            **cls._options(config),
        )

    def unmasks_inputs(self) -> bool:
        return not self.keeps_masks

    def _heads(self, key: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = self.key_dense(key, outputs=(self.num_heads, self.key_dim))
        return keys, self.value_dense(value, outputs=(self.num_heads, self.value_dim))

    def _axes(self, rank: int) -> tuple[int, ...]:
        if self.attention_axes is None:
            return tuple(range(1, rank - 2))
        return tuple(axis % (rank - 1) for axis in self.attention_axes)

    def _value_dim(self) -> int:
        return self.value_dim

    def _outputs(self, query: jax.Array) -> tuple[int, ...]:
        return self.output_shape or query.shape[-1:]


@converts(
    "GroupQueryAttention", "GroupedQueryAttention"
)  # the name under which Keras saves it, and that of the class
class GroupedQueryAttention(ProjectedAttention):
    """Attention whose query heads share keys and values in groups (Ainslie et al., 2023).

    Parameters: kernel and bias of query_dense (features, heads, head_dim), key_dense and
    value_dense (features, groups, head_dim), output_dense (heads, head_dim, features), and with
    ``use_gate`` gate_dense.
    """

    num_groups: int = 1

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(
            num_heads=config["num_query_heads"],
            num_groups=config["num_key_value_heads"],
            key_dim=config["head_dim"],
            **cls._options(config),
        )

    def _heads(self, key: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        sizes = (self.num_groups, self.key_dim)
        repeats = self.num_heads // self.num_groups
        keys, values = self.key_dense(key, outputs=sizes), self.value_dense(value, outputs=sizes)
        return jnp.repeat(keys, repeats, axis=2), jnp.repeat(values, repeats, axis=2)
