"""Loops and branches of a compiled fit, as they work inside ``jax.shard_map`` too.

There JAX keeps account of what differs between devices, in which both branches, and a loop's carry
before and after a round, must agree; numbers that a fit begins with differ nowhere. Here whatever
goes through a loop or a branch counts as different.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import jax
import jax.numpy as jnp

from lmjax._src.typing import Array, PyTree, Scalar


def while_loop(
    condition: Callable[[PyTree], Array], body: Callable[[PyTree], PyTree], carry: PyTree
) -> PyTree:
    """``jax.lax.while_loop``."""
    if not _manual_axes():
        return jax.lax.while_loop(condition, body, carry)
    return jax.lax.while_loop(condition, lambda carry: varying(body(carry)), varying(carry))


def on_host(
    condition: Callable[[PyTree], Scalar], body: Callable[[PyTree], PyTree], carry: PyTree
) -> PyTree:
    """:func:`while_loop` of values that are known, run by Python."""
    while condition(carry):
        carry = body(carry)
    return carry


def fori_loop(
    start: Scalar, stop: Scalar, body: Callable[[Scalar, PyTree], PyTree], carry: PyTree
) -> PyTree:
    """``jax.lax.fori_loop``."""
    if not _manual_axes():
        return jax.lax.fori_loop(start, stop, body, carry)
    return jax.lax.fori_loop(start, stop, lambda k, carry: varying(body(k, carry)), varying(carry))


def cond(condition: Scalar, true: Callable[[], PyTree], false: Callable[[], PyTree]) -> PyTree:
    """``jax.lax.cond`` of branches without arguments."""
    if not _manual_axes():
        return jax.lax.cond(condition, true, false)
    return jax.lax.cond(condition, lambda: varying(true()), lambda: varying(false()))


def varying(tree: PyTree) -> PyTree:
    """``tree``; inside ``jax.shard_map`` it counts as different on every device. Tangents must do
    so where the parameters do.
    """
    axes = _manual_axes()
    if not axes:
        return tree
    here = jax.lax.axis_index(axes) >= 0  # True; what it selects differs from device to device
    return jax.tree.map(lambda leaf: jnp.where(here, leaf, leaf), tree)


def _manual_axes() -> tuple[Hashable, ...]:
    """Those of ``jax.shard_map``, if this is one."""
    return jax.sharding.get_abstract_mesh().manual_axes
