"""The framework-free layer graph: what a Keras model is, whether it was read from a live object or
from a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from bridge._src.typing import Config


@dataclass(frozen=True)
class InputSpec:
    """One input of a model: name, shape without the batch axis (None where any size goes), Keras
    dtype name, size of a fixed batch.

    The name does not count in comparisons: Keras numbers it through (``input_layer_7``), and two
    models that differ in nothing else share compiled functions.
    """

    name: str = field(compare=False)
    shape: tuple[int | None, ...]
    dtype: str
    batch: int | None = None

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"(batch, {sizes})" if self.shape else "(batch,)"


@dataclass(frozen=True)
class TensorRef:
    """A tensor inside a graph: output ``index`` of node ``node``; node -1 holds the inputs of the
    graph.

    ``index`` None stands for all that the node returns, as a Sequential hands it on.
    """

    node: int
    index: int | None = 0


@dataclass(frozen=True)
class Named:
    """What a model returns as a dictionary: its keys, and what stands under each."""

    names: tuple[str, ...]
    items: tuple[Tensors, ...]


#: What a model returns: a tensor, or several in lists and dictionaries of any depth.
Tensors: TypeAlias = "TensorRef | tuple[Tensors, ...] | Named"
#: An argument of a call: tensors, None and constants, in tuples of any depth.
Argument: TypeAlias = Any


def references(argument: Tensors | Argument) -> Iterator[TensorRef]:
    """All tensors in ``argument``, in order."""
    if isinstance(argument, TensorRef):
        yield argument
    elif isinstance(argument, (tuple, Named)):
        for item in argument.items if isinstance(argument, Named) else argument:
            yield from references(item)


def replaced(argument: Argument, change: Callable[[TensorRef], TensorRef]) -> Argument:
    """``argument`` with ``change`` of each tensor in its place."""
    if isinstance(argument, TensorRef):
        return change(argument)
    if isinstance(argument, Named):
        return Named(argument.names, replaced(argument.items, change))
    return (
        tuple(replaced(item, change) for item in argument)
        if isinstance(argument, tuple)
        else argument
    )


@dataclass(frozen=True)
class Node:
    """One call of a layer; a layer used twice has two nodes.

    Attributes:
        layer: Name of the layer.
        inputs: The first argument.
        options: The other arguments that are not None, by name, or as read by position (from 1).
    """

    layer: str
    inputs: Argument
    options: tuple[tuple[str | int, Argument], ...] = ()


@dataclass(frozen=True)
class LayerRecord:
    """A layer as its configuration describes it.

    Attributes:
        name: Keras name, unique within its graph.
        class_name: Class name as Keras writes it.
        key: Name under which the registry looks for a converter: ``class_name`` for Keras' own
            classes, ``"package>Class"`` for others.
        config: Keras configuration; sequences are tuples.
        saved_name: Name of the layer's group in a weights file, inside its parent's ``layers``
            group.
        graph: The inner graph, when the layer is itself a Sequential or Functional model.
        problem: Why the configuration could not be read, if so.
    """

    name: str
    class_name: str
    key: str
    config: Config
    saved_name: str
    graph: LayerGraph | None = None
    problem: str | None = None

    @property
    def is_operation(self) -> bool:
        """Whether this is a function of ``keras.ops`` and no layer."""
        return self.key.startswith("keras.src.ops.")

    @property
    def trainable(self) -> bool:
        """The layer's own ``trainable`` flag; those of its ancestors count too."""
        return bool(self.config.get("trainable", True))

    @property
    def activity_regularizer(self) -> Config | None:
        """The serialized regularizer of the layer's outputs."""
        if self.key == "ActivityRegularization":
            options = {name: self.config.get(name, 0.0) for name in ("l1", "l2")}
            return {"class_name": "L1L2", "module": "keras.regularizers", "config": options}
        return self.config.get("activity_regularizer")


@dataclass(frozen=True)
class LayerGraph:
    """Layers, the calls between them in a valid order, and the tensors that enter and leave."""

    name: str
    layers: tuple[LayerRecord, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[InputSpec, ...]
    outputs: Tensors
    trainable: bool = True

    def records(
        self, prefix: tuple[str, ...] = ()
    ) -> Iterator[tuple[tuple[str, ...], LayerRecord]]:
        """All layers, depth first, each with its path of names."""
        for record in self.layers:
            path = (*prefix, record.name)
            yield path, record
            if record.graph is not None:
                yield from record.graph.records(path)

    def activity_regularizers(self) -> dict[str, Config]:
        """The serialized activity regularizers by layer; at inference they do nothing, in training
        they add to the loss.
        """
        named = {"/".join(path): record.activity_regularizer for path, record in self.records()}
        return {name: regularizer for name, regularizer in named.items() if regularizer is not None}
