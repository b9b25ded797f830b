"""TensorFlow's hashes of integers, which Keras' hashing layers use: the same bins on every backend
and device.

FarmHash64 (Pike, 2014: ``farmhashna``) and SipHash-2-4 (Aumasson & Bernstein, 2012) of an integer
written in decimal, and the mixing of 64-bit values by which TensorFlow crosses features
(``tsl/platform/fingerprint.h``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from bridge._src.layers.preprocessing.uint64 import Word64

#: Primes of FarmHash.
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
#: Initial state of SipHash ("somepseudorandomlygeneratedbytes").
_SIP = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
#: Multiplier and key with which TensorFlow crosses features.
_CROSS_FACTOR, _CROSS_KEY = 0xC6A4A7935BD1E995, 0xDECAFCAFFE


class Text(NamedTuple):
    """Short texts: bytes (…, width) with zeros behind the text, as uint32, and the lengths (…)."""

    bytes: jax.Array
    length: jax.Array

    def byte(self, position: jax.Array | int) -> jax.Array:
        """The byte at ``position``, which may differ from text to text."""
        index = jnp.broadcast_to(jnp.asarray(position, jnp.int32), self.length.shape)
        return jnp.take_along_axis(
            self.bytes, jnp.clip(index, 0, self.bytes.shape[-1] - 1)[..., None], axis=-1
        )[..., 0]

    def word(self, position: jax.Array | int) -> jax.Array:
        """Four bytes from ``position`` on, the first one being the least."""
        parts = [self.byte(position + offset) << 8 * offset for offset in range(4)]
        return parts[0] | parts[1] | parts[2] | parts[3]

    def word64(self, position: jax.Array | int) -> Word64:
        """Eight bytes from ``position`` on."""
        return Word64(self.word(position + 4), self.word(position))


def decimal(values: jax.Array) -> Text:
    """Integers as decimal texts."""
    unsigned = jnp.uint64 if values.dtype.itemsize == 8 else jnp.uint32
    digits = 20 if values.dtype.itemsize == 8 else 10
    negative = values < 0
    size = jnp.where(negative, -values.astype(unsigned), values.astype(unsigned))
    powers = jnp.asarray([10**place for place in range(digits)], unsigned)
    places = size[..., None] // powers % jnp.asarray(10, unsigned)
    count = jnp.maximum(jnp.sum(size[..., None] >= powers, axis=-1), 1).astype(jnp.int32)
    length = count + negative
    # Eight bytes are read from any place up to the last, and are zero behind the text.
    position = jnp.arange(digits + 12, dtype=jnp.int32)
    place = length[..., None] - 1 - position
    characters = jnp.take_along_axis(places, jnp.clip(place, 0, digits - 1), axis=-1).astype(
        jnp.uint32
    ) + ord("0")
    characters = jnp.where(negative[..., None] & (position == 0), jnp.uint32(ord("-")), characters)
    return Text(jnp.where(place >= 0, characters, jnp.uint32(0)), length)


def _mixed(value: Word64) -> Word64:
    return value.xor(value.shifted_right(47))


def _folded(first: Word64, second: Word64, factor: Word64) -> Word64:
    """FarmHash's ``HashLen16``."""
    a = _mixed(first.xor(second).times(factor))
    return _mixed(second.xor(a).times(factor)).times(factor)


def farm_hash(text: Text) -> Word64:
    """FarmHash64 of texts of 1 to 32 bytes."""
    k0, k1, k2 = map(Word64.of, (_K0, _K1, _K2))
    size, length = text.length, Word64.of(text.length.astype(jnp.uint32))
    factor = k2.plus(length).plus(length)
    # up to 3 bytes
    first, last = (
        text.byte(0) + (text.byte(size >> 1) << 8),
        size.astype(jnp.uint32) + (text.byte(size - 1) << 2),
    )
    tiny = _mixed(Word64.of(first).times(k2).xor(Word64.of(last).times(k0))).times(k2)
    # 4 to 7
    head, tail = Word64.of(text.word(0)), Word64.of(text.word(size - 4))
    small = _folded(length.plus(head.times(Word64.of(8))), tail, factor)
    # 8 to 16
    a, b = text.word64(0).plus(k2), text.word64(size - 8)
    middle = _folded(
        b.rotated_right(37).times(factor).plus(a), a.rotated_right(25).plus(b).times(factor), factor
    )
    if text.bytes.shape[-1] - 12 < 17:  # 32-bit integers have at most 11 characters
        return tiny.where(size < 4, small.where(size < 8, middle))
    # 17 to 32
    a, b = text.word64(0).times(k1), text.word64(8)
    c, d = text.word64(size - 8).times(factor), text.word64(size - 16).times(k2)
    large = _folded(
        a.plus(b).rotated_right(43).plus(c.rotated_right(30)).plus(d),
        a.plus(b.plus(k2).rotated_right(18)).plus(c),
        factor,
    )
    return tiny.where(size < 4, small.where(size < 8, middle.where(size <= 16, large)))


def _sip_round(state: list[Word64]) -> list[Word64]:
    v0, v1, v2, v3 = state
    v0, v2 = v0.plus(v1), v2.plus(v3)
    v1, v3 = v0.xor(v1.rotated_right(64 - 13)), v2.xor(v3.rotated_right(64 - 16))
    v0 = Word64(v0.low, v0.high)  # rotated by 32
    v2, v0 = v2.plus(v1), v0.plus(v3)
    v1, v3 = v2.xor(v1.rotated_right(64 - 17)), v0.xor(v3.rotated_right(64 - 21))
    return [v0, v1, Word64(v2.low, v2.high), v3]


def sip_hash(text: Text, salt: Sequence[int]) -> Word64:
    """SipHash-2-4 under a key of two 64-bit numbers."""
    keys = [Word64.of(int(key) % 2**64) for key in salt]
    state = [Word64.of(start).xor(keys[number % 2]) for number, start in enumerate(_SIP)]
    blocks = text.length // 8

    # Blocks of eight bytes, as many as the longest text has; the last of each text ends in its
    # length.
    def absorbed(number: jax.Array, state: list[Word64]) -> list[Word64]:
        block = text.word64(8 * number)
        high = jnp.where(
            number == blocks, block.high | text.length.astype(jnp.uint32) << 24, block.high
        )
        block = Word64(high, block.low)
        v0, v1, v2, v3 = lax.fori_loop(
            0, 2, lambda _, state: _sip_round(state), [*state[:3], state[3].xor(block)]
        )
        after = [v0.xor(block), v1, v2, v3]
        return [new.where(number <= blocks, old) for new, old in zip(after, state, strict=True)]

    state = [
        value.xor(Word64(jnp.zeros_like(text.bytes[..., 0]), jnp.zeros_like(text.bytes[..., 0])))
        for value in state
    ]
    state = lax.fori_loop(0, (text.bytes.shape[-1] - 12 + 1) // 8 + 1, absorbed, state)
    state[2] = state[2].xor(Word64.of(0xFF))
    final: list[Word64] = lax.fori_loop(0, 4, lambda _, state: _sip_round(state), state)
    return final[0].xor(final[1]).xor(final[2].xor(final[3]))


def buckets(values: jax.Array, count: int, salt: Sequence[int] | None = None) -> jax.Array:
    """The bin, from 0 to ``count`` - 1, of every integer: by FarmHash64, or by SipHash under
    ``salt``; int32.
    """
    text = decimal(values)
    hashed = farm_hash(text) if salt is None else sip_hash(text, salt)
    return hashed.remainder(count).astype(jnp.int32)


def crossed_buckets(features: Sequence[jax.Array], count: int) -> jax.Array:
    """The bin of every combination of integers of equal shape; int32."""
    factor, crossed = Word64.of(_CROSS_FACTOR), Word64.of(_CROSS_KEY)
    for feature in features:
        mixed = _mixed(_as_word(feature).times(factor)).times(factor)
        crossed = _mixed(_mixed(crossed.xor(factor).xor(mixed).times(factor)).times(factor))
    return crossed.remainder(count).astype(jnp.int32)


def _as_word(values: jax.Array) -> Word64:
    """Signed integers in two's complement of 64 bits."""
    if values.dtype.itemsize == 8:
        return Word64((values >> 32).astype(jnp.uint32), values.astype(jnp.uint32))
    wide = values.astype(jnp.int32)
    return Word64((wide >> 31).astype(jnp.uint32), wide.astype(jnp.uint32))
