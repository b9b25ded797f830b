"""What a model does to its data before any weight acts: done once, in front of the fit, in place of
in every step.

Hashing, lookups, bins and histograms have no derivative that a step could use; those that read the
model's inputs are taken out of the function whose Jacobian is formed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from bridge._src.description.graph import Argument, InputSpec, Node, TensorRef, references, replaced
from bridge._src.description.inputs import prepare
from bridge._src.layers.base import KerasLayer
from bridge._src.layers.preprocessing.categorical import Categorical
from bridge._src.layers.preprocessing.contrast import (
    AutoContrast,
    ContrastLimitedAdaptiveHistogramEqualization,
)
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from lmjax._src.runtime.precision import scope
from lmjax._src.training.data import Data, InMemory, Streamed
from lmjax._src.typing import PyTree

#: Layers that are worth it; the layers between the inputs and them go with them.
_OF_DATA = (Categorical, AutoContrast, ContrastLimitedAdaptiveHistogramEqualization)
#: Rows that are prepared at once.
_ROWS = 4096
#: How many times the numbers of the inputs the results may have; inputs that are read elsewhere,
#: too, count as results.
_MOST_GROWTH = 2


class Preparation(NamedTuple):
    """A model in two parts: what is done to the data once, and a model of the results."""

    ahead: KerasGraph
    model: FlaxModel

    def data(self, given: Data) -> Data:
        """Data in memory with their inputs prepared."""
        assert isinstance(given, InMemory)
        return given._replace(x=self(given.x))

    def __call__(self, x: PyTree) -> PyTree:
        """The inputs of the second part, NumPy arrays, from those of the whole model; a list where
        there are several.
        """
        dtype = self.model.dtype
        with scope(dtype):
            run = jax.jit(lambda *inputs: self.ahead.apply({}, inputs))
            arrays = [np.asarray(array) for array in prepare(x, self.ahead.inputs, dtype)]
            blocks = [
                run(*(array[start : start + _ROWS] for array in arrays))
                for start in range(0, max(len(arrays[0]), 1), _ROWS)
            ]
            prepared = [
                np.concatenate([np.asarray(block[place]) for block in blocks])
                for place in range(len(blocks[0]))
            ]
        return prepared[0] if len(prepared) == 1 else prepared


def preparation_of(model: FlaxModel, *data: Data) -> Preparation | None:
    """The two parts of ``model``; None where nothing is gained.

    That is where no such layer reads the inputs, where its results are many times larger than they
    are, where any of the data (for training, for validation) are streamed, and where sizes are
    open.
    """
    if any(isinstance(given, Streamed) for given in data):
        return None
    if (
        any(size is None for spec in model.module.inputs for size in spec.shape)
        or model.graph.activity_regularizers()
    ):
        return None
    moved = _moved(model.module)
    if not moved:
        return None
    ahead, rest = _split(model.module, moved)
    inputs = tuple(
        jax.ShapeDtypeStruct((1, *spec.shape), "float32" if "float" in spec.dtype else "int32")
        for spec in ahead.inputs
    )
    outputs, masks = jax.eval_shape(lambda *arrays: ahead.apply({}, arrays, method="run"), *inputs)
    given, results = (sum(math.prod(one.shape) for one in arrays) for arrays in (inputs, outputs))
    if jax.tree.leaves(masks) or results > _MOST_GROWTH * given:
        return None
    specs = tuple(
        InputSpec(
            f"prepared_{place}", one.shape[1:], "float32" if "float" in one.dtype.name else "int64"
        )
        for place, one in enumerate(outputs)
    )
    return Preparation(ahead, dataclasses.replace(model, module=rest.clone(inputs=specs)))


def read_by(node: Node) -> list[TensorRef]:
    """All tensors that a call reads."""
    return [
        *references(node.inputs),
        *(ref for _, option in node.options for ref in references(option)),
    ]


def _is_free(layer: KerasLayer) -> bool:
    """Whether a layer has no weights; inner models are left whole."""
    return not (isinstance(layer, KerasGraph) or layer.weights() or layer.children())


def _moved(module: KerasGraph) -> set[int]:
    """The calls of layers of data that depend on the inputs alone, and the calls that those depend
    on.
    """
    layers = module.children()
    free: set[int] = set()
    for position, node in enumerate(module.nodes):
        if _is_free(layers[node.layer]) and all(
            ref.node < 0 or ref.node in free for ref in read_by(node)
        ):
            free.add(position)
    moved: set[int] = set()
    for position in sorted(free, reverse=True):
        node = module.nodes[position]
        if position in moved or isinstance(layers[node.layer], _OF_DATA):
            moved |= {position, *(ref.node for ref in read_by(node) if ref.node >= 0)}
    return moved


def _split(module: KerasGraph, moved: set[int]) -> tuple[KerasGraph, KerasGraph]:
    """The calls in ``moved``, returning what the others read of them and of the inputs; and the
    others.
    """
    ahead, rest = (
        [position for position in range(len(module.nodes)) if (position in moved) == side]
        for side in (True, False)
    )
    read = [ref for position in rest for ref in read_by(module.nodes[position])] + list(
        references(module.outputs)
    )
    crossing = list(dict.fromkeys(ref for ref in read if ref.node < 0 or ref.node in moved))
    before = {position: place for place, position in enumerate(ahead)}
    places: dict[TensorRef, TensorRef] = {
        ref: TensorRef(-1, place) for place, ref in enumerate(crossing)
    }
    after = {position: place for place, position in enumerate(rest)}

    def placed(
        argument: Argument, numbers: dict[int, int], known: dict[TensorRef, TensorRef]
    ) -> Argument:
        def place(ref: TensorRef) -> TensorRef:
            return known.get(ref) or (
                TensorRef(numbers[ref.node], ref.index) if ref.node >= 0 else ref
            )

        return replaced(argument, place)

    def part(
        positions: Iterable[int], numbers: dict[int, int], known: dict[TensorRef, TensorRef]
    ) -> dict[str, Any]:
        nodes = tuple(
            Node(
                module.nodes[position].layer,
                placed(module.nodes[position].inputs, numbers, known),
                tuple(
                    (name, placed(option, numbers, known))
                    for name, option in module.nodes[position].options
                ),
            )
            for position in positions
        )
        names = {node.layer for node in nodes}
        return {
            "nodes": nodes,
            "layers": tuple(layer for layer in module.layers if layer.name in names),
        }

    first = module.clone(
        **part(ahead, before, {}), outputs=tuple(placed(ref, before, {}) for ref in crossing)
    )
    return first, module.clone(
        **part(rest, after, places), outputs=placed(module.outputs, after, places)
    )
