"""Masks of a model's outputs: what Keras leaves out of the loss, as weights of steps.

``Embedding(mask_zero=True)`` and ``Masking`` mark steps that are no data; a mask that reaches the
outputs multiplies the weights of the loss, and the sum over all steps is divided by the number of
those that count (``apply_mask`` in ``keras.src.losses.loss``, ``apply_valid_mask`` in
``tf_keras.src.utils.losses_utils``). The same is the mean over all steps with weights of (steps /
steps that count) under the mask and 0 elsewhere. Steps are counted over all rows of a data set, as
``model.evaluate`` with a batch of all rows counts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from bridge._src.description.errors import ConversionError
from bridge._src.description.graph import references
from bridge._src.description.inputs import prepare
from bridge._src.description.weights import Path, merge, nest
from bridge._src.module.flax_model import FlaxModel
from bridge._src.module.keras_graph import KerasGraph
from bridge._src.module.renaming import for_flax
from lmjax._src.arrays.numbers import real_array
from lmjax._src.objectives.losses.step_weights import combined
from lmjax._src.runtime.bounded_jit import recent
from lmjax._src.runtime.precision import scope
from lmjax._src.training.data import Data, Streamed
from lmjax._src.training.streaming.sources import Piece, Source
from lmjax._src.typing import NumpyArray, Params, PyTree

#: Rows whose masks are computed at once.
_ROWS = 4096
#: Stands in for a size that the model leaves open.
_OPEN_SIZE = 16


class OutputMask:
    """The mask of a model's one output, which depends on the inputs alone."""

    def __init__(self, model: FlaxModel) -> None:
        self._model = model
        self._shapes = tuple((entry.path, entry.shape) for entry in model.table.trainable)
        self._exists: bool | None = None

    def look(self, shapes: PyTree) -> bool:
        """Whether there is a mask for inputs of these ``shapes``.

        Raises:
            ConversionError: Keras cannot lay it over the losses, or it depends on weights that are
                trained.
        """
        model = self._model
        outputs, masks = jax.eval_shape(
            lambda state, x: _run(model.module, self._shapes, state, x), model.state, shapes
        )
        found = jax.tree.leaves(masks)
        if found and len(list(references(model.module.outputs))) == 1:
            (output,), (mask,) = jax.tree.leaves(outputs), found
            if mask.shape != output.shape[: len(mask.shape)] or len(mask.shape) >= max(
                len(output.shape), 2
            ):
                raise ConversionError(
                    f"the output, of shape {_open(output.shape)}, has a mask of shape "
                    f"{_open(mask.shape)}, which Keras cannot lay over "
                    "the loss of every step; take the mask off with a layer that does "
                    "not pass it on, such as Flatten or Reshape"
                )
            if self._is_trained(shapes):
                raise ConversionError(
                    "the mask of the output depends on weights that are trained, so that steps "
                    "would come and go during the fit; put the Masking layer in front of the "
                    "layers with weights"
                )
            self._exists = True
        else:
            self._exists = False
        return self._exists

    def _is_trained(self, shapes: PyTree) -> bool:
        """Whether the mask is computed from a weight that is trained."""
        model = self._model

        def mask(params: Params, state: PyTree, x: PyTree) -> PyTree:
            module, weights = for_flax(model.module, merge(params, state))
            return jax.tree.leaves(module.apply({"params": weights}, x, method="run")[1])[0]

        jaxpr = jax.make_jaxpr(mask)(model.params, model.state, shapes).jaxpr
        reached = set(jaxpr.invars[: len(jax.tree.leaves(model.params))])
        for equation in jaxpr.eqns:
            if any(not isinstance(var, Literal) and var in reached for var in equation.invars):
                reached.update(equation.outvars)
        return any(not isinstance(var, Literal) and var in reached for var in jaxpr.outvars)

    def __call__(self, x: PyTree) -> NumpyArray | None:
        """The mask for inputs ``x``, True where a step counts; None if there is none."""
        model = self._model
        if self._exists is False:
            return None
        with scope(model.dtype):
            try:
                arrays = prepare(x, model.module.inputs, model.dtype)
            except ValueError:
                return None  # the fit says what is wrong with them, and what they are called
            if len({len(array) for array in arrays}) != 1:
                return None
            if self._exists is None and not self.look(_shapes_of(arrays)):
                return None
            parts = []
            for start in range(0, len(arrays[0]), _ROWS):
                some = tuple(array[start : start + _ROWS] for array in arrays)
                parts.append(np.asarray(_mask(model.module, self._shapes, model.state, some)))
        return np.concatenate(parts) if parts else None

    @staticmethod
    def weights(mask: NumpyArray, sample_weight: PyTree, factor: float, name: str) -> NumpyArray:
        """Weights of steps: ``sample_weight`` times ``factor`` where the mask is True, and 0
        elsewhere.

        Raises:
            ValueError: the weights, which are called ``name``, have another shape.
        """
        counted = np.where(mask, factor, 0.0)
        return (
            counted
            if sample_weight is None
            else combined(counted, np.asarray(real_array(sample_weight, name)), name)
        )

    def data(self, given: Data) -> Data:
        """Data with the mask in their weights."""
        if isinstance(given, Streamed):
            return given._replace(source=MaskedSource(given.source, self))
        weights = self.weights_of(given.x, given.sample_weight, given.names[2])
        return given._replace(sample_weight=weights)

    def weights_of(self, x: PyTree, sample_weight: PyTree, name: str = "sample_weight") -> PyTree:
        """The weights of rows in memory, which are all that there are."""
        found = self(x)
        return (
            sample_weight
            if found is None
            else self.weights(found, sample_weight, _factor(found.size, int(found.sum())), name)
        )


def output_mask(model: FlaxModel) -> OutputMask | None:
    """The mask that Keras lays over the loss of ``model``; None if there is none.

    Raises:
        ConversionError: as :meth:`OutputMask.look`.
    """
    mask = OutputMask(model)
    try:
        with scope(model.dtype):
            return mask if mask.look(_stand_ins(model)) else None
    except ConversionError:
        raise
    except (ValueError, TypeError, IndexError):
        return mask  # the stand-in for an open size does not suit the model: the data will tell


class MaskedSource:
    """A source with the mask in its weights; counting the steps under it takes one more pass over
    the data.
    """

    def __init__(self, source: Source, mask: OutputMask) -> None:
        self._source, self._mask = source, mask

    @cached_property
    def _counted(self) -> float:
        steps = counted = 0
        for x, _, _ in self._source.pieces():
            found = self._mask(x)
            if found is not None:
                steps, counted = steps + found.size, counted + int(found.sum())
        return _factor(steps, counted)

    def pieces(self) -> Iterator[Piece]:
        """See :class:`lmjax._src.training.streaming.sources.Source`."""
        for x, y, sample_weight in self._source.pieces():
            found = self._mask(x)
            yield (
                x,
                y,
                sample_weight
                if found is None
                else self._mask.weights(found, sample_weight, self._counted, "sample_weight"),
            )


def _factor(steps: int, counted: int) -> float:
    return steps / counted if counted else 0.0


def _stand_ins(model: FlaxModel) -> PyTree:
    inputs = []
    for spec in model.module.inputs:
        sizes = (_OPEN_SIZE if size is None else size for size in spec.shape)
        inputs.append(
            jax.ShapeDtypeStruct((1, *sizes), model.dtype if "float" in spec.dtype else "int32")
        )
    return tuple(inputs)


def _shapes_of(arrays: PyTree) -> PyTree:
    return tuple(jax.ShapeDtypeStruct((1, *array.shape[1:]), array.dtype) for array in arrays)


def _open(shape: tuple[int, ...]) -> str:
    return f"(batch{''.join(f', {size}' for size in shape[1:])})"


def _run(
    module: KerasGraph, trained: tuple[tuple[Path, tuple[int, ...]], ...], state: PyTree, x: PyTree
) -> PyTree:
    """Outputs and masks, with zeros for the weights that are ``trained``, on which masks do not
    depend.
    """
    zeros = nest({path: jnp.zeros(shape, jnp.result_type(float)) for path, shape in trained})
    module, weights = for_flax(module, merge(zeros, state))
    return module.apply({"params": weights}, x, method="run")


@recent(static_argnums=(0, 1))
def _mask(
    module: KerasGraph, trained: tuple[tuple[Path, tuple[int, ...]], ...], state: PyTree, x: PyTree
) -> jax.Array:
    found: jax.Array = jax.tree.leaves(_run(module, trained, state, x)[1])[0]
    return found
