"""``from_keras``: a live Keras model or a model file becomes a :class:`bridge.FlaxModel`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
from jax.typing import DTypeLike

from bridge._src.description.damage import refusing_damage
from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import LayerGraph
from bridge._src.description.variables import LiveVariables
from bridge._src.description.weights import nest
from bridge._src.formats import files, live, live_weights
from bridge._src.formats.description import Description
from bridge._src.formats.model_file import ModelFile
from bridge._src.module.binding import Bound, bind
from bridge._src.module.build import build
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.typing import FilePath, ModelSource
from lmjax._src.runtime import faults, precision
from lmjax._src.typing import DType


class Reading(NamedTuple):
    """What was read: the graph, its module, the weights, the description that all came from, and
    the variables of the live model whose values the weights are, if they are any's.
    """

    graph: LayerGraph
    module: KerasGraph
    bound: Bound
    description: Description
    variables: LiveVariables | None = None


def from_keras(
    model: ModelSource, dtype: DTypeLike | None = None, weights: FilePath | None = None
) -> FlaxModel:
    """Converts a Keras model into a pure Flax function with Keras' own parameters.

    Args:
        model: A live Keras 3 / ``tf.keras`` Sequential or Functional model, a :class:`FlaxModel`
            (returned as it is when the dtype agrees), or the path of a ``.keras`` file, an HDF5
            file (``.h5``) or a bundle (``.lmjax``), which are read without Keras.
        dtype: ``"float32"`` or ``"float64"``: dtype of the parameters, in which the function
            computes. None takes the model's own; reduced and mixed precision are computed in
            float32.
        weights: A ``.weights.h5`` file to read in place of the model's own weights.

    Returns:
        The converted model; :attr:`FlaxModel.params` are copies.

    Raises:
        ConversionError: when the model is not built, a layer cannot be converted exactly (all such
            layers are named), or a file is missing, damaged or of another kind.
        ValueError: ``dtype`` is none of those.

    Example:
        A live model, and a file.

        >>> import keras
        >>> import numpy as np
        >>> import lmjax.keras
        >>> layers = [keras.Input((2,)), keras.layers.Dense(1, name="out")]
        >>> model = keras.Sequential(layers)
        >>> converted = lmjax.keras.from_keras(model, dtype="float64")
        >>> converted.params["out"]["kernel"].shape, str(converted.dtype)
        ((2, 1), 'float64')
        >>> x = np.ones((5, 2))
        >>> np.allclose(converted(converted.params, x), model(x), atol=1e-6)
        True
        >>> model.save("model.keras")
        >>> lmjax.keras.from_keras("model.keras").params["out"]["bias"]
        array([0.], dtype=float32)
    """
    _check_dtype(dtype)
    if isinstance(model, FlaxModel):
        if weights is not None:
            raise ConversionError(
                "weights are read with the Keras model or file that they belong to; this "
                "model is converted already"
            )
        return model if dtype in (None, str(model.dtype)) else _recast(model, np.dtype(dtype))
    return assembled(read(model, weights), dtype)


def for_training(model: ModelSource, dtype: DTypeLike | None = None) -> FlaxModel:
    """``model`` converted to the dtype to fit it in; None for float64 where the device does it
    well, and every layer computes in it.

    Derivatives with the rounding of single precision would lead a fit in double precision astray.
    """
    converted = from_keras(model, dtype=precision.preferred_dtype() if dtype is None else dtype)
    return (
        from_keras(converted, dtype="float32")
        if dtype is None and converted.module.rounds_to_single()
        else converted
    )


def read(model: ModelSource, weights: FilePath | None = None) -> Reading:
    """Graph, module and bound weights of a live model or a file; the weights from another file if
    one is given.
    """
    if isinstance(model, (str, os.PathLike)):
        with files.open_model(model) as file:
            return read_file(file, weights)
    if not live.is_keras_model(model):
        raise ConversionError(
            f"model must be a Keras model or the path of a model file, given {type(model).__name__}"
        )
    with live.tensorflow_left_alone():
        description = live.read_description(model)
        graph = description.graph(f"model {model.name!r}")
        module = build(graph, model)
        if weights is not None:
            bound = files.bind_weights_file(weights, graph, module)
            return Reading(graph, module, bound, description)
        live_weights.build_late_weights(model)
        bound = bind(graph, module, live_weights.LiveSource(model))
        live_weights.check_complete(model, [entry.handle for entry in bound.table])
    return Reading(graph, module, bound, description, LiveVariables.of(model))


def read_file(file: ModelFile, weights: str | os.PathLike[str] | None = None) -> Reading:
    """Graph, module and bound weights of an open file; the weights from another file if one is
    given.
    """
    with refusing_damage(str(file.path)):
        graph = file.graph
        module = build(graph)
        bound = (
            file.bind(graph, module)
            if weights is None
            else files.bind_weights_file(weights, graph, module)
        )
    return Reading(graph, module, bound, file.description)


def _check_dtype(dtype: DTypeLike | None) -> None:
    try:
        allowed = dtype is None or np.dtype(dtype) in (np.dtype("float32"), np.dtype("float64"))
    except TypeError:
        allowed = False
    if not allowed:
        raise ValueError(f"dtype must be None, 'float32' or 'float64', given {dtype!r}")


def assembled(reading: Reading, dtype: DTypeLike | None = None) -> FlaxModel:
    """The converted model that was read; None for the dtype that it has."""
    faults.warn_once()
    own = "float64" if any(entry.dtype == "float64" for entry in reading.bound.table) else "float32"
    dtype = np.dtype(dtype or own)
    table = reading.bound.table
    values = {path: _as_dtype(value, dtype) for path, value in reading.bound.values.items()}
    params, state = (
        nest({entry.path: values[entry.path] for entry in chosen})
        for chosen in (table.trainable, table.frozen)
    )
    return FlaxModel(reading.module, params, state, table, reading.graph, dtype, reading.variables)


def _as_dtype(value: np.ndarray, dtype: DType) -> np.ndarray:
    floating = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
    return value.astype(dtype, copy=False) if floating else value


def _recast(model: FlaxModel, dtype: DType) -> FlaxModel:
    params, state = (
        jax.tree.map(lambda leaf: _as_dtype(np.asarray(leaf), dtype), tree)
        for tree in (model.params, model.state)
    )
    return replace(model, params=params, state=state, dtype=dtype)
