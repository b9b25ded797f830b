"""Targets and weights as Keras takes them, for models with one output."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bridge._src.description.graph import LayerGraph, Named, Tensors, references
from bridge._src.module.keras_graph import KerasGraph
from lmjax._src.arrays.numbers import real_array
from lmjax._src.objectives.losses.crossentropy import SparseCategoricalCrossentropy
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.step_weights import combined
from lmjax._src.typing import NumpyArray, PyTree


def of_one_output(given: PyTree, module: KerasGraph | LayerGraph, argument: str) -> PyTree:
    """``given`` out of the dictionary or list that it stands in, for a model whose one output
    stands in one, or by its layer's name.

    Raises:
        TypeError: it is a dictionary of something else.
    """
    outputs: Tensors = module.outputs
    while not hasattr(outputs, "node"):
        if isinstance(outputs, Named) and len(outputs.names) == 1:
            given = (
                given[outputs.names[0]]
                if isinstance(given, Mapping) and set(given) == set(outputs.names)
                else given
            )
            outputs = outputs.items[0]
        elif isinstance(outputs, tuple) and len(outputs) == 1:
            given = given[0] if isinstance(given, (list, tuple)) and len(given) == 1 else given
            outputs = outputs[0]
        else:
            break
    if not isinstance(given, Mapping):
        return given
    names = _names(module)
    if len(names) == len(given) == 1 and names[0] in given:
        return given[names[0]]
    if len(names) == 1:
        wanted = module.outputs.names[0] if isinstance(module.outputs, Named) else names[0]
        raise TypeError(
            f"{argument}: the model has one output, {wanted!r}; got a dictionary of "
            f"{', '.join(map(repr, given)) or 'nothing'}"
        )
    raise TypeError(f"{argument}: {_SEVERAL.format(given='dictionary')}")


def as_targets(y: PyTree, module: KerasGraph, name: str = "y") -> NumpyArray:
    """``y``, which is called ``name``, as one array.

    Raises:
        TypeError: it is none, or the targets of something else.
    """
    y = of_one_output(y, module, name)
    try:
        return np.asarray(real_array(y, name))
    except ValueError:  # rows of different lengths
        raise TypeError(f"{name}: {_SEVERAL.format(given=type(y).__name__)}") from None


_SEVERAL = (
    "the model has one output; expected one array with a row for each of x, got a {given} that is "
    "none"
)


def _names(module: KerasGraph | LayerGraph) -> list[str]:
    """The names of the layers that the outputs come from, by which Keras knows them."""
    return [
        module.nodes[ref.node].layer if ref.node >= 0 else module.inputs[ref.index or 0].name
        for ref in references(module.outputs)
    ]


def class_weights(
    class_weight: Mapping[int, float] | None,
    loss: Loss,
    targets: PyTree,
    sample_weight: PyTree,
    name: str = "sample_weight",
) -> PyTree:
    """``sample_weight``, which is called ``name``, times the weights of the classes that the
    targets name: by index, or as one-hot rows; of steps, too.

    Raises:
        ValueError: a class has no weight, or Keras takes the targets for something else than
            ``loss`` does.
    """
    given = None if sample_weight is None else np.asarray(real_array(sample_weight, name))
    if class_weight is None:
        return given
    targets = np.asarray(targets)
    one_hot = targets.ndim > 1 and targets.shape[-1] > 1
    if one_hot and isinstance(loss, SparseCategoricalCrossentropy):
        raise ValueError(
            f"class_weight: Keras takes targets of shape {targets.shape} for one-hot rows, the "
            "loss takes them for class indices; give the indices of steps a last axis of "
            "length one, y[..., None], or pass sample_weight"
        )
    flat = targets[..., 0] if targets.ndim > 1 else targets
    classes = targets.argmax(axis=-1) if one_hot else np.round(flat).astype(int)
    missing = sorted(set(np.unique(classes).tolist()) - set(class_weight))
    if missing:
        raise ValueError(
            f"class_weight: no weight for class {', '.join(map(str, missing))}; give one "
            "for every class in y"
        )
    weights = np.vectorize(class_weight.__getitem__, otypes=[float])(classes)
    return weights if given is None else combined(weights, given, name)
