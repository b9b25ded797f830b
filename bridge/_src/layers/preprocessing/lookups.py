"""Hashing, HashedCrossing and IntegerLookup: integers to the numbers of bins or to places in a
vocabulary.

No derivative reaches their inputs. Where JAX has no 64-bit integers, inputs must fit in 32 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from bridge._src.description.errors import LayerRefused
from bridge._src.layers.base import LayerConfig
from bridge._src.layers.numerics import hashable
from bridge._src.layers.preprocessing.categorical import Categorical, encode
from bridge._src.layers.preprocessing.farmhash import buckets, crossed_buckets
from bridge._src.layers.registry import converts
from bridge._src.typing import Mask

#: The most bins, and the largest word that is returned: what 32 bits hold.
_MOST_BINS = 2**31 - 1


def _bins(config: LayerConfig) -> int:
    bins = int(config["num_bins"])
    if not 0 < bins <= _MOST_BINS:
        raise LayerRefused(
            f"num_bins={bins} is not supported; it must be between 1 and {_MOST_BINS}"
        )
    return bins


def _salt(config: LayerConfig) -> tuple[int, int] | None:
    salt = config.get("salt")
    if salt is None:
        return None
    first, second = (salt, salt) if isinstance(salt, int) else salt
    return int(first), int(second)


def _as_integers(inputs: jax.Array) -> jax.Array:
    """Inputs as JAX's widest integers: floats are cut off, as Keras does."""
    if jnp.issubdtype(inputs.dtype, jnp.integer):
        return inputs
    return inputs.astype(jax.dtypes.canonicalize_dtype(np.int64))


@converts("Hashing")
class Hashing(Categorical):
    """The bin into which TensorFlow hashes an integer; with ``mask_value`` bin 0 is that of this
    value alone.
    """

    num_bins: int = 1
    mask_value: int | None = None
    salt: tuple[int, int] | None = None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        mask = config.get("mask_value")
        if isinstance(mask, str):
            raise LayerRefused(
                f"mask_value={mask!r}: texts have no place in a JAX array; apply the "
                "layer to the data before the model"
            )
        mode = config.require("output_mode", "int", "one_hot", "multi_hot", "count")
        return cls(output_mode=mode, num_bins=_bins(config), mask_value=mask, salt=_salt(config))

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        values = _as_integers(inputs)
        if self.mask_value is None or self.num_bins == 1:
            bins = buckets(values, self.num_bins, self.salt)
        else:
            bins = jnp.where(
                inputs == self.mask_value, 0, 1 + buckets(values, self.num_bins - 1, self.salt)
            )
        return encode(bins, self.output_mode, self.num_bins)


@converts("HashedCrossing")
class HashedCrossing(Categorical):
    """The bin of a combination of integers (batch,) or (batch, 1)."""

    num_bins: int = 1

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        return cls(
            output_mode=config.require("output_mode", "int", "one_hot"), num_bins=_bins(config)
        )

    def __call__(self, inputs: Sequence[jax.Array], mask: Mask = None) -> jax.Array:
        return encode(crossed_buckets(inputs, self.num_bins), self.output_mode, self.num_bins)


@converts("IntegerLookup")
class IntegerLookup(Categorical):
    """The place of an integer in a vocabulary, behind those of the mask and of unknown integers; or
    the way back.
    """

    vocabulary: tuple[int, ...] = ()
    unknown: int = 1
    unknown_value: int = -1
    mask_value: int | None = None
    depth: int = 0
    hashed: bool = False
    salt: tuple[int, int] | None = None
    invert: bool = False
    weights_of_words: tuple[float, ...] | None = None

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.ignore(
            "vocabulary_dtype",
            "vocabulary_size",
            "idf_weights",
            "max_tokens",
            "pad_to_max_tokens",
            "has_input_vocabulary",
        )
        given = config.get("vocabulary")
        if given is None:
            raise LayerRefused(
                "its vocabulary was adapted to data and is not in the configuration; "
                "build the layer with vocabulary=layer.get_vocabulary()"
            )
        if isinstance(given, str):
            raise LayerRefused(
                "its vocabulary is in another file; build the layer with "
                "vocabulary=layer.get_vocabulary()"
            )
        mode = config.require("output_mode", "int", "one_hot", "multi_hot", "count", "tf_idf")
        unknown, mask, invert = (
            config.get("num_oov_indices", 1),
            config.get("mask_token"),
            config.get("invert", False),
        )
        oov_token = config.get("oov_token", -1)
        special = (
            *((mask,) if mask is not None and mode == "int" else ()),
            *(oov_token,) * unknown,
        )
        found = len(special) > 0 and tuple(given[: len(special)]) == special
        words = tuple(int(word) for word in (given[len(special) :] if found else given))
        if not words or (invert and max(map(abs, words)) > _MOST_BINS):
            raise LayerRefused(
                "its vocabulary is empty, or the words to which it maps do not fit in 32 bits"
            )
        size = len(special) + len(words)
        depth = int(config.get("max_tokens") or size) if config.get("pad_to_max_tokens") else size
        return cls(
            output_mode=mode,
            vocabulary=words,
            unknown=unknown,
            unknown_value=-1 if oov_token is None else oov_token,
            mask_value=mask,
            depth=depth,
            hashed=config.require("oov_method", "floormod", "farmhash") == "farmhash",
            salt=_salt(config),
            invert=invert,
            weights_of_words=_idf(config, len(special), found, depth) if mode == "tf_idf" else None,
        )

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        values = _as_integers(inputs)
        if self.invert:
            return self._words(values)
        places = encode(
            self._places(values),
            "count" if self.output_mode == "tf_idf" else self.output_mode,
            self.depth,
        )
        return (
            places
            if self.weights_of_words is None
            else places * jnp.asarray(self.weights_of_words, places.dtype)
        )

    @property
    def _start(self) -> int:
        """Number of places in front of those of unknown integers."""
        return int(self.mask_value is not None and self.output_mode == "int")

    def _places(self, values: jax.Array) -> jax.Array:
        words = np.asarray(self.vocabulary, np.int64)
        order = np.argsort(words)
        limits = np.iinfo(values.dtype)
        # No input can be one of the others.
        order = order[(words[order] >= limits.min) & (words[order] <= limits.max)]
        ordered = jnp.asarray(words[order].astype(values.dtype))
        nearest = jnp.clip(jnp.searchsorted(ordered, values), 0, len(order) - 1)
        known = jnp.asarray(order.astype(np.int32))[nearest] + self._start + self.unknown
        if self.unknown > 1:
            other = (
                buckets(values, self.unknown, self.salt)
                if self.hashed
                else jnp.mod(values, self.unknown).astype(jnp.int32)
            )
            other += self._start
        else:  # without a place for them Keras raises an error; here they have none in any encoding
            other = jnp.int32(self._start if self.unknown else -1)
        places = jnp.where(ordered[nearest] == values, known, other)
        if self.mask_value is None:
            return places
        return jnp.where(values == self.mask_value, 0 if self.output_mode == "int" else -1, places)

    def _words(self, places: jax.Array) -> jax.Array:
        table = (
            *(self.mask_value,) * self._start,
            *(self.unknown_value,) * self.unknown,
            *self.vocabulary,
        )
        words = jnp.asarray(np.asarray(table, places.dtype))
        inside = (places >= 0) & (places < len(table))
        return jnp.where(inside, words[jnp.clip(places, 0, len(table) - 1)], self.unknown_value)


def _idf(config: LayerConfig, special: int, found: bool, depth: int) -> tuple[float, ...]:
    """Weights of all places: those of unknown words are the mean of the others, where they are not
    given.
    """
    given = config.get("idf_weights")
    if given is None:
        raise LayerRefused(
            "its idf_weights were adapted to data and are not in the configuration; "
            "build the layer with idf_weights=..."
        )
    front = () if found else (float(np.average(given)),) * special
    known = (*front, *map(float, given))
    rounded = np.asarray((*known, *(0.0,) * (depth - len(known))), np.float32)
    return tuple(hashable(rounded.astype(float).tolist()))
