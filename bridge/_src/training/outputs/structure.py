"""The outputs of a model in Keras' order, and what a user gives for them: in lists and dictionaries
as the model returns its outputs, in one flat list, or by the names of layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bridge._src.description.graph import LayerGraph, Named, TensorRef, Tensors
from bridge._src.module.keras_graph import KerasGraph

#: One way from what a model returns to one of its outputs: positions in lists, keys.
OutputPath = tuple[int | str, ...]


class Output(NamedTuple):
    """One output of a model."""

    ref: TensorRef
    layer: str  #: the layer that it comes from, by whose name Keras knows it
    path: OutputPath

    @property
    def name(self) -> str:
        """What messages call it: by its keys in dictionaries, or else by its layer."""
        keys = [str(step) for step in self.path]
        return "/".join(keys) if any(isinstance(step, str) for step in self.path) else self.layer


def outputs_of(module: KerasGraph | LayerGraph) -> list[Output]:
    """All outputs; those in a dictionary by sorted keys, as Keras flattens it."""

    def found(tensors: Tensors, path: OutputPath) -> Iterator[Output]:
        if isinstance(tensors, TensorRef):
            layer = (
                module.nodes[tensors.node].layer
                if tensors.node >= 0
                else module.inputs[tensors.index or 0].name
            )
            yield Output(tensors, layer, path)
        else:
            for step, item in _items(tensors):
                yield from found(item, (*path, step))

    return list(found(module.outputs, ()))


def over_outputs(
    given: Any, module: KerasGraph | LayerGraph, argument: str, layers: Sequence[str] = ()
) -> list[Any]:
    """What is ``given`` for each output, in the order of :func:`outputs_of`.

    None where a dictionary has nothing. What is neither list nor dictionary is for all of them.

    Args:
        given: losses, weights of losses, targets or weights of samples.
        module: the model.
        argument: what ``given`` is called in messages.
        layers: the names of the outputs where Keras has others than those of their layers.

    Raises:
        TypeError: it does not fit to the outputs.
    """
    outputs = outputs_of(module)
    known = [layers or [output.layer for output in outputs], [output.layer for output in outputs]]
    by_names = _by_names(given, known)
    if by_names is not None and not isinstance(module.outputs, Named):
        return by_names
    try:
        return list(_along(given, module.outputs))
    except _MisfitError:
        if by_names is not None:
            return by_names
        if isinstance(given, (list, tuple)) and len(given) == len(outputs):
            return list(given)
    got = (
        f"a dictionary of {', '.join(map(repr, given)) or 'nothing'}"
        if isinstance(given, Mapping)
        else f"a {type(given).__name__} of {len(given)}"
    )
    raise TypeError(
        f"{argument}: the model has {len(outputs)} outputs, "
        f"{', '.join(repr(output.name) for output in outputs)}; expected a list with one for "
        f"each, or a dictionary by these names, got {got}"
    )


def as_outputs(values: Sequence[Any], module: KerasGraph | LayerGraph) -> Any:
    """``values`` in the order of :func:`outputs_of`, in the structure that the model returns."""
    remaining = iter(values)

    def built(tensors: Tensors) -> Any:
        if isinstance(tensors, TensorRef):
            return next(remaining)
        items = [(step, built(item)) for step, item in _items(tensors)]
        return dict(items) if isinstance(tensors, Named) else tuple(item for _, item in items)

    return built(module.outputs)


class _MisfitError(Exception):
    """Lists and dictionaries are not those of the outputs."""


def _along(given: Any, outputs: Tensors) -> Iterator[Any]:
    """``given`` where it has the structure of ``outputs``."""
    if isinstance(outputs, TensorRef):
        yield given
        return
    items = _items(outputs)
    if isinstance(given, Mapping):
        if not isinstance(outputs, Named) or not set(given) <= set(outputs.names):
            raise _MisfitError
        for name, item in items:
            yield from _along(given.get(name), item)
    elif isinstance(given, (list, tuple)):
        if isinstance(outputs, Named) or len(given) != len(items):
            raise _MisfitError
        for one, (_, item) in zip(given, items, strict=True):
            yield from _along(one, item)
    else:
        for _, item in items:
            yield from _along(given, item)


def _by_names(given: Any, known: Sequence[Sequence[str]]) -> list[Any] | None:
    """``given`` by names of outputs, of which it may leave out some; None where it is something
    else.
    """
    if isinstance(given, Mapping):
        for names in known:
            if set(given) <= set(names):
                return [given.get(name) for name in names]
    return None


def _items(outputs: Tensors) -> list[tuple[int | str, Tensors]]:
    if isinstance(outputs, Named):
        return sorted(zip(outputs.names, outputs.items, strict=True), key=lambda item: item[0])
    assert isinstance(outputs, tuple)
    return list(enumerate(outputs))
