"""The order in which Keras runs the calls of a Functional model.

It shows where a layer changes what others see: MultiHeadAttention takes the masks off its inputs.
Follows ``keras.src.ops.function.map_graph``: calls sorted by their depth, which is the longest way
to an output.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

_Call = TypeVar("_Call", bound=Hashable)


def execution_order(
    outputs: Iterable[_Call],
    parents: Mapping[_Call, Sequence[_Call]],
    layer_of: Callable[[_Call], str],
) -> list[_Call]:
    """The calls in the order in which Keras runs them; those that no output depends on come last.

    Args:
        outputs: The calls that the model returns, in order.
        parents: The calls whose tensors each call receives, in the order of its arguments; without
            cycles.
        layer_of: Name of the layer of a call; all calls of a layer are at least as deep as those
            seen before.
    """
    depths: dict[_Call, int] = {}
    deepest: dict[str, int] = {}
    for call in reversed(_depth_first(outputs, parents)):
        depth = max(depths.setdefault(call, 0), deepest.get(layer_of(call), 0))
        deepest[layer_of(call)] = depths[call] = depth
        for parent in parents[call]:
            depths[parent] = max(depth + 1, depths.get(parent, 0))
    used = sorted(depths, key=lambda call: -depths[call])
    return used + [call for call in _depth_first(parents, parents) if call not in depths]


def _depth_first(roots: Iterable[_Call], parents: Mapping[_Call, Sequence[_Call]]) -> list[_Call]:
    """All calls that ``roots`` depend on, each behind those that it depends on; without recursion,
    models may be deep.
    """
    finished: dict[_Call, None] = {}
    for root in roots:
        stack = [(root, iter(parents[root]))]
        while stack:
            call, waiting = stack[-1]
            following = next((parent for parent in waiting if parent not in finished), None)
            if following is not None:
                stack.append((following, iter(parents[following])))
                continue
            finished.setdefault(call)
            stack.pop()
    return list(finished)
