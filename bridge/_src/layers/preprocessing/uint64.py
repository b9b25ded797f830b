"""Unsigned 64-bit arithmetic on pairs of 32-bit words: JAX has no 64-bit integers unless a global
switch is on.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
from jax import lax

_HALF = 16
_LOW = 0xFFFF


def _word(value: int) -> jax.Array:
    return jnp.asarray(value, jnp.uint32)


class Word64(NamedTuple):
    """Integers modulo 2⁶⁴ as two arrays of uint32."""

    high: jax.Array
    low: jax.Array

    @classmethod
    def of(cls, value: int | jax.Array) -> Self:
        """A Python integer, or an array of uint32."""
        if isinstance(value, int):
            return cls(_word(value >> 32 & 0xFFFFFFFF), _word(value & 0xFFFFFFFF))
        return cls(jnp.zeros_like(value), value)

    def plus(self, other: Word64) -> Word64:
        """The sum."""
        low = self.low + other.low
        return Word64(self.high + other.high + (low < self.low), low)

    def xor(self, other: Word64) -> Word64:
        """Bitwise exclusive or."""
        return Word64(self.high ^ other.high, self.low ^ other.low)

    def times(self, other: Word64) -> Word64:
        """The product."""
        high, low = _product(self.low, other.low)
        return Word64(high + self.low * other.high + self.high * other.low, low)

    def shifted_right(self, bits: int) -> Word64:
        """Shifted to the right by less than 64 bits."""
        if bits >= 32:
            return Word64(jnp.zeros_like(self.high), self.high >> (bits - 32))
        return Word64(self.high >> bits, self.low >> bits | self.high << (32 - bits))

    def rotated_right(self, bits: int) -> Word64:
        """Rotated to the right by 1 to 63 bits, not 32."""
        first, second = (self.high, self.low) if bits < 32 else (self.low, self.high)
        bits %= 32
        return Word64(first >> bits | second << (32 - bits), second >> bits | first << (32 - bits))

    def remainder(self, divisor: int) -> jax.Array:
        """The remainder of a division by a number below 2³¹, bit by bit, as uint32."""
        words = jnp.stack([self.low, self.high])

        def with_next_bit(step: jax.Array, remainder: jax.Array) -> jax.Array:
            place = 63 - step
            bit = words[place // 32] >> (place % 32).astype(jnp.uint32) & 1
            return (remainder << 1 | bit) % _word(divisor)

        remainder: jax.Array = lax.fori_loop(0, 64, with_next_bit, jnp.zeros_like(self.low))
        return remainder

    def where(self, condition: jax.Array, other: Word64) -> Word64:
        """Itself where ``condition`` holds, elsewhere ``other``."""
        return Word64(
            jnp.where(condition, self.high, other.high), jnp.where(condition, self.low, other.low)
        )


def _product(one: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The 64 bits of a product of two words, from four products of halves."""
    a, b, c, d = one >> _HALF, one & _LOW, other >> _HALF, other & _LOW
    low, first, second = b * d, a * d, b * c
    middle = (low >> _HALF) + (first & _LOW) + (second & _LOW)
    return a * c + (first >> _HALF) + (second >> _HALF) + (
        middle >> _HALF
    ), middle << _HALF | low & _LOW
