"""Masks of a model's outputs: what Keras leaves out of their losses, as weights of steps.

``Embedding(mask_zero=True)`` and ``Masking`` mark steps that are no data; a mask that reaches the
outputs multiplies the weights of the loss, and the sum over all steps is divided by the number of
those that count (``apply_mask`` in ``keras.src.losses.loss``, ``apply_valid_mask`` in
``tf_keras.src.utils.losses_utils``). The same is the mean over all steps with weights of (steps /
steps that count) under the mask and 0 elsewhere. Steps are counted over all rows of a data set, as
``model.evaluate`` with a batch of all rows counts them; those of each output for themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from bridge._src.description.errors import ConversionError
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


#: The masks of all outputs for some rows, True where a step counts; None for an output without.
Masks = list[NumpyArray | None]
#: Puts weights of all outputs, for so many rows, side by side; the name is for messages.
LayOut = Callable[[list[NumpyArray | None], int, str], NumpyArray | None]


class OutputMask:
    """The masks of a model's outputs, which depend on the inputs alone.

    Args:
        model: the model.
        lay_out: for several outputs, lays their weights out.
    """

    def __init__(self, model: FlaxModel, lay_out: LayOut | None = None) -> None:
        self._model, self._lay_out = model, lay_out
        self._shapes = tuple((entry.path, entry.shape) for entry in model.table.trainable)
        self._exists: bool | None = None

    def look(self, shapes: PyTree) -> bool:
        """Whether there is any mask for inputs of these ``shapes``.

        Raises:
            ConversionError: Keras cannot lay it over the losses, or it depends on weights that are
                trained.
        """
        model = self._model
        outputs, masks = jax.eval_shape(
            lambda state, x: _run(model.module, self._shapes, state, x), model.state, shapes
        )
        arrays, found_masks = jax.tree.leaves(outputs), _each(masks)
        found = (
            list(zip(arrays, found_masks, strict=True)) if len(arrays) == len(found_masks) else []
        )
        for output, mask in found:
            if mask is None:
                continue
            if mask.shape != output.shape[: len(mask.shape)] or len(mask.shape) >= max(
                len(output.shape), 2
            ):
                raise ConversionError(
                    f"an output, of shape {_open(output.shape)}, has a mask of shape "
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
        self._exists = any(mask is not None for _, mask in found)
        return self._exists

    def _is_trained(self, shapes: PyTree) -> bool:
        """Whether a mask is computed from a weight that is trained."""
        model = self._model

        def mask(params: Params, state: PyTree, x: PyTree) -> PyTree:
            module, weights = for_flax(model.module, merge(params, state))
            return jax.tree.leaves(module.apply({"params": weights}, x, method="run")[1])

        jaxpr = jax.make_jaxpr(mask)(model.params, model.state, shapes).jaxpr
        reached = set(jaxpr.invars[: len(jax.tree.leaves(model.params))])
        for equation in jaxpr.eqns:
            if any(not isinstance(var, Literal) and var in reached for var in equation.invars):
                reached.update(equation.outvars)
        return any(not isinstance(var, Literal) and var in reached for var in jaxpr.outvars)

    def __call__(self, x: PyTree) -> Masks | None:
        """The masks for inputs ``x``; None if there are none."""
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
            blocks = [
                _masks(
                    model.module,
                    self._shapes,
                    model.state,
                    tuple(array[start : start + _ROWS] for array in arrays),
                )
                for start in range(0, len(arrays[0]), _ROWS)
            ]
        return [_joined(parts) for parts in zip(*blocks, strict=True)] if blocks else None

    def weights(
        self, masks: Masks, sample_weight: PyTree, factors: list[float], name: str
    ) -> PyTree:
        """Weights of steps: ``sample_weight`` times an output's factor where its mask is True, and
        0 elsewhere.

        Raises:
            ValueError: the weights, which are called ``name``, have another shape.
        """
        each = [
            None if mask is None else np.where(mask, factor, 0.0)
            for mask, factor in zip(masks, factors, strict=True)
        ]
        rows = next(len(mask) for mask in masks if mask is not None)
        counted = each[0] if self._lay_out is None else self._lay_out(each, rows, name)
        assert counted is not None
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
            else self.weights(found, sample_weight, _factors([found]), name)
        )


def output_mask(model: FlaxModel, lay_out: LayOut | None = None) -> OutputMask | None:
    """The masks that Keras lays over the losses of ``model``; None if there are none.

    Raises:
        ConversionError: as :meth:`OutputMask.look`.
    """
    mask = OutputMask(model, lay_out)
    try:
        with scope(model.dtype):
            return mask if mask.look(_stand_ins(model)) else None
    except ConversionError:
        raise
    except (ValueError, TypeError, IndexError):
        return mask  # the stand-in for an open size does not suit the model: the data will tell


class MaskedSource:
    """A source with the masks in its weights; counting the steps under them takes one more pass
    over the data.
    """

    def __init__(self, source: Source, mask: OutputMask) -> None:
        self._source, self._mask = source, mask

    @cached_property
    def _counted(self) -> list[float]:
        return _factors(self._mask(x) for x, _, _ in self._source.pieces())

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


def _factors(pieces: Iterable[Masks | None]) -> list[float]:
    """For each output the steps over those that count, in all pieces."""
    counts = [
        [(0, 0) if mask is None else (mask.size, int(mask.sum())) for mask in masks]
        for masks in pieces
        if masks is not None
    ]
    totals = (map(sum, zip(*one, strict=True)) for one in zip(*counts, strict=True))
    return [steps / counted if counted else 0.0 for steps, counted in totals]


def _each(masks: PyTree) -> list[PyTree]:
    """The masks of all outputs, None where there is none."""
    return jax.tree.leaves(masks, is_leaf=lambda mask: mask is None)


def _joined(parts: tuple[jax.Array | None, ...]) -> NumpyArray | None:
    return None if parts[0] is None else np.concatenate([np.asarray(part) for part in parts])


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
def _masks(
    module: KerasGraph, trained: tuple[tuple[Path, tuple[int, ...]], ...], state: PyTree, x: PyTree
) -> list[jax.Array | None]:
    return _each(_run(module, trained, state, x)[1])
