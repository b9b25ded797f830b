"""Loops over batches: under ``vmap`` each lane stops by itself, and those that go on are packed
together.

A plain ``while_loop`` under ``vmap`` computes every lane until the slowest has stopped. Here a
window of lanes is computed; those that have stopped make room for lanes that wait, and when none
waits the window shrinks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmjax._src.runtime import control_flow
from lmjax._src.typing import PyTree

#: On a CPU, bytes of the largest array of a window, so that its caches hold what one operation
#: leaves to the next; and the bounds of its lanes. An accelerator takes all lanes at once.
_WINDOW_BYTES, _FEWEST, _MOST = 2**21, 16, 4096

#: By how much a window shrinks once so few of its lanes go on. Each width is a program of its own
#: to compile.
_SHRINKING = 16

#: Rounds between two exchanges of lanes that have stopped for lanes that wait, which cost about a
#: fifth of a round.
_ROUNDS = 2


class Loop(NamedTuple):
    """A loop ``while running(carry): carry = advance(problem, carry)``, given by functions of one
    lane.
    """

    running: Callable[[PyTree, PyTree], jax.Array]  #: (problem, carry) to a bool
    advance: Callable[[PyTree, PyTree], PyTree]  #: (problem, carry) to a carry
    alone: Callable[
        [PyTree, PyTree], PyTree
    ]  #: (problem, carry) to the last carry, for one lane by itself
    lane_bytes: int  #: of the largest array that one lane computes with


def run(loop: Loop, problem: PyTree, carry: PyTree) -> PyTree:
    """``loop.alone(problem, carry)``; packed when it is batched by ``vmap``, also by several, and
    inside ``jit``.

    Everything traced that the loop depends on has to be in ``problem`` or ``carry``, pytrees of
    arrays.
    """
    one = jax.custom_batching.custom_vmap(loop.alone)

    @one.def_vmap
    def many(
        axis_size: int, batched: PyTree, problem: PyTree, carry: PyTree
    ) -> tuple[PyTree, PyTree]:
        carry = spread(axis_size, batched[1], carry)
        return _lanes(loop, axis_size, problem, batched[0], carry), jax.tree.map(
            lambda _: True, carry
        )

    return one(problem, carry)


def _lanes(loop: Loop, lanes: int, problem: PyTree, shared_out: PyTree, carry: PyTree) -> PyTree:
    """:func:`_packed` that may be batched again: the lanes of all batches become one batch."""
    packed = jax.custom_batching.custom_vmap(functools.partial(_packed, loop, lanes, shared_out))

    @packed.def_vmap
    def many(
        axis_size: int, batched: PyTree, problem: PyTree, carry: PyTree
    ) -> tuple[PyTree, PyTree]:
        def merge(outer: bool, inner: bool, leaf: jax.Array) -> jax.Array:
            if not (outer or inner):
                return leaf
            leaf = leaf if outer else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))
            leaf = (
                leaf
                if inner
                else jnp.broadcast_to(leaf[:, None], (axis_size, lanes, *leaf.shape[1:]))
            )
            return leaf.reshape(axis_size * lanes, *leaf.shape[2:])

        either = jax.tree.map(lambda outer, inner: outer or inner, batched[0], shared_out)
        merged = jax.tree.map(merge, batched[0], shared_out, problem)
        flat = jax.tree.map(lambda outer, leaf: merge(outer, True, leaf), batched[1], carry)
        result = _lanes(loop, axis_size * lanes, merged, either, flat)
        return jax.tree.map(
            lambda leaf: leaf.reshape(axis_size, lanes, *leaf.shape[1:]), result
        ), jax.tree.map(lambda _: True, result)

    return packed(problem, carry)


def spread(lanes: int, batched: PyTree, tree: PyTree) -> PyTree:
    """``tree`` with a first axis of ``lanes`` everywhere, also where it is not ``batched``."""
    return jax.tree.map(
        lambda is_batched, leaf: (
            leaf if is_batched else jnp.broadcast_to(leaf, (lanes, *jnp.shape(leaf)))
        ),
        batched,
        tree,
    )


def _packed(loop: Loop, lanes: int, batched: PyTree, problem: PyTree, carry: PyTree) -> PyTree:
    """The last carry of every lane; ``problem`` has a first axis of ``lanes`` where ``batched``,
    ``carry`` everywhere.
    """
    if lanes == 0:
        return carry
    axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, batched)

    def advance(problem: PyTree, carry: PyTree) -> PyTree:
        running = loop.running(problem, carry)
        return jax.tree.map(
            lambda new, old: jnp.where(running, new, old), loop.advance(problem, carry), carry
        )

    advance_all, running_all = (
        jax.vmap(advance, in_axes=(axes, 0)),
        jax.vmap(loop.running, in_axes=(axes, 0)),
    )

    def rows(tree: PyTree, index: jax.Array) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[index], tree)

    def problems(index: jax.Array) -> PyTree:
        return jax.tree.map(
            lambda is_batched, leaf: leaf[index] if is_batched else leaf, batched, problem
        )

    def returned(whole: PyTree, index: jax.Array, part: PyTree) -> PyTree:
        return jax.tree.map(
            lambda leaf, new: leaf.at[index].set(new, unique_indices=True), whole, part
        )

    def exchange(queue: tuple[jax.Array, jax.Array, PyTree]) -> tuple[jax.Array, jax.Array, PyTree]:
        """A few rounds of the window, then lanes that wait take the places of those that have
        stopped.
        """
        index, waiting, whole = queue
        current, window = problems(index), rows(whole, index)
        window = control_flow.fori_loop(
            0, _ROUNDS, lambda _, window: advance_all(current, window), window
        )
        stopped = ~running_all(current, window)
        following = waiting + jnp.cumsum(stopped, dtype=index.dtype) - 1
        index_next = jnp.where(stopped & (following < lanes), following, index)
        return (
            index_next,
            jnp.minimum(waiting + jnp.sum(stopped, dtype=index.dtype), lanes),
            returned(whole, index, window),
        )

    width = _window(lanes, loop.lane_bytes)
    index = jnp.arange(width, dtype=jnp.int32)
    if width < lanes:
        queue = (index, jnp.asarray(width, jnp.int32), carry)
        index, _, carry = control_flow.while_loop(lambda queue: queue[1] < lanes, exchange, queue)
    while True:
        narrower = width // _SHRINKING if width // _SHRINKING >= _FEWEST else 0
        current = problems(index)

        def unfinished(
            window: PyTree, current: PyTree = current, narrower: int = narrower
        ) -> jax.Array:
            return jnp.sum(running_all(current, window)) > narrower

        window = control_flow.while_loop(
            unfinished, functools.partial(advance_all, current), rows(carry, index)
        )
        carry = returned(carry, index, window)
        if narrower == 0:
            return carry
        index = index[jnp.argsort(~running_all(current, window))[:narrower]]
        width = narrower


def _window(lanes: int, lane_bytes: int) -> int:
    if jax.default_backend() != "cpu":
        return lanes
    return min(lanes, max(_FEWEST, min(_MOST, _WINDOW_BYTES // max(lane_bytes, 1))))
