"""A model with several outputs as one with one: outputs, targets and weights of steps stand side by
side in rows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from functools import partial

import jax
import numpy as np

from bridge._src.description.errors import ConversionError
from bridge._src.module.flax_model import FlaxModel
from bridge._src.training.outputs.combined_loss import CombinedLoss, Part
from bridge._src.training.outputs.losses import OutputLosses
from lmjax._src.arrays.numbers import quantities, real_array
from lmjax._src.objectives.losses.over_all import OverAll
from lmjax._src.objectives.losses.step_weights import spread
from lmjax._src.training.data import Data, Streamed
from lmjax._src.training.dataset import checked_targets
from lmjax._src.training.streaming.sources import Piece, Source
from lmjax._src.typing import Array, DType, NumpyArray, PyTree, Shape


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """The outputs with a loss, as one row.

    Attributes:
        model: the model, which returns these outputs in a list.
        loss: of the row of them; it knows their shapes.
        names: what messages call them.
    """

    model: FlaxModel
    loss: CombinedLoss
    names: tuple[str, ...]

    def data(self, given: Data) -> Data:
        """Data whose targets and weights are lists with an entry for each output, with these side
        by side; those that are streamed piece by piece.
        """
        if isinstance(given, Streamed):
            self.check_rows_alone()
            return given._replace(source=SideBySideSource(given.source, self, given.names))
        targets = self.targets(given.y, given.names[1])
        weights = self.weights(
            self._over_all(given.y, given.sample_weight, given.names[2]),
            len(targets),
            given.names[2],
        )
        return given._replace(y=targets, sample_weight=weights)

    def check_rows_alone(self) -> None:
        """Checks that no loss has weights that depend on all rows, which are not seen at once.

        Raises:
            ValueError: one has; the message names its output.
        """
        for part, output in zip(self.loss.parts_of_row, self.names, strict=True):
            if OverAll(part.loss).needed:
                raise ValueError(
                    f"loss of output {output!r}: its reduction, or the targets that it leaves out, "
                    "are counted over all rows, which beside other outputs needs the data in memory"
                )

    def _over_all(
        self, y: list[PyTree], weights: list[PyTree] | None, name: str
    ) -> list[PyTree] | None:
        """``weights`` times what depends on all rows."""
        if not any(OverAll(part.loss).needed for part in self.loss.parts_of_row):
            return weights
        found = []
        given = weights or [None] * len(self.names)
        for one, targets, part, output in zip(
            given, y, self.loss.parts_of_row, self.names, strict=True
        ):
            title = self._called(name, output)
            own = None if one is None else np.asarray(real_array(one, title))
            wanted = np.asarray(targets).reshape(-1, *part.target_shape)
            shape = (len(wanted), *part.shape)
            found.append(OverAll(part.loss).weights(wanted, own, shape, title))
        return found

    def targets(self, y: list[PyTree], name: str = "y", first_row: int = 0) -> NumpyArray:
        """The targets (N, …) of all outputs in one array, which are called ``name``.

        Raises:
            TypeError, ValueError: as :func:`lmjax.fit` for each of them, naming the output; or they
                have different lengths; or they are indices that the dtype does not hold.
        """
        called = [self._called(name, output) for output in self.names]
        arrays = [np.asarray(real_array(one, title)) for one, title in zip(y, called, strict=True)]
        lengths = {len(array) if array.ndim else None for array in arrays}
        if len(lengths) > 1 or None in lengths:
            has = ", ".join(
                f"{title} has shape {array.shape}"
                for title, array in zip(called, arrays, strict=True)
            )
            raise ValueError(f"{name}: all outputs need targets for the same rows; {has}")
        rows = len(arrays[0])
        return np.concatenate(
            [
                self._entering(array, part, title, first_row).reshape(rows, -1)
                if rows
                else np.zeros((0, math.prod(part.target_shape)), self._dtype)
                for array, part, title in zip(arrays, self.loss.parts_of_row, called, strict=True)
            ],
            axis=1,
        )

    def weights(
        self, weights: list[PyTree] | None, rows: int, name: str = "sample_weight"
    ) -> NumpyArray | None:
        """The weights of all steps of all outputs, (N, steps); None without any. An entry None
        stands for ones.

        Raises:
            TypeError, ValueError: as :func:`lmjax.fit` for each of them, naming the output.
        """
        if weights is None or all(one is None for one in weights):
            return None
        laid = []
        for one, part, output in zip(weights, self.loss.parts_of_row, self.names, strict=True):
            title, shape = self._called(name, output), (rows, *part.steps)
            given = np.ones(rows) if one is None else np.asarray(real_array(one, title))
            found = spread(given, shape, title)
            found = found.reshape(found.shape + (1,) * (len(shape) - found.ndim))
            laid.append(np.broadcast_to(found, shape).reshape(rows, math.prod(part.steps)))
        return np.concatenate(laid, axis=1)

    @property
    def _dtype(self) -> DType:
        return self.model.dtype if self.loss.takes_quantities else np.dtype(int)

    def _called(self, name: str, output: str) -> str:
        return f"{name} of output {output!r}" if len(self.names) > 1 else name

    def _entering(self, array: NumpyArray, part: Part, name: str, first_row: int) -> Array:
        outputs = (len(array), *part.shape)
        array = np.asarray(checked_targets(array, part.loss, outputs, name, first_row))
        if part.loss.takes_quantities:
            return quantities(array, name, self._dtype)
        if array.dtype.kind not in "biu" and (array != np.rint(array)).any():
            raise ValueError(
                f"{name}: beside other outputs, targets of a {type(part.loss).__name__} are taken "
                "as indices, and these are no whole numbers; give it takes_quantities = True"
            )
        # The first whole number whose successor a float does not have; integers are checked later.
        most = 2 / np.finfo(self.model.dtype).eps if self.loss.takes_quantities else math.inf
        if array.size and max(abs(int(array.max())), abs(int(array.min()))) > most:
            raise ValueError(
                f"{name}: holds indices beyond {int(most)}, which {self._dtype} does not tell "
                "apart beside targets of other outputs; compute in float64, or number them anew"
            )
        return array.astype(self._dtype)


class SideBySideSource:
    """A source whose targets and weights stand side by side."""

    def __init__(self, source: Source, rows: SideBySide, names: tuple[str, str, str]) -> None:
        self._source, self._rows, self._names = source, rows, names

    def pieces(self) -> Iterator[Piece]:
        """See :class:`lmjax._src.training.streaming.sources.Source`."""
        _, y_name, weight_name = self._names
        start = 0
        for x, y, sample_weight in self._source.pieces():
            targets = self._rows.targets(y, y_name, start)
            yield x, targets, self._rows.weights(sample_weight, len(targets), weight_name)
            start += len(targets)


def side_by_side(model: FlaxModel, losses: OutputLosses, data: Data | None = None) -> SideBySide:
    """``model`` as one with one output.

    Args:
        model: the model.
        losses: of its outputs.
        data: its inputs have the sizes that the model leaves open.

    Raises:
        ConversionError: it leaves sizes open, and there are no data.
    """
    module = model.module.clone(outputs=losses.refs)
    shown = dataclasses.replace(model, module=module)
    shapes = _shapes(shown, data)
    parts = tuple(
        Part(part.loss, shape, part.weight)
        for part, shape in zip(losses.parts, shapes, strict=True)
    )
    return SideBySide(shown, CombinedLoss(parts), tuple(part.output.name for part in losses.parts))


def _shapes(model: FlaxModel, data: Data | None) -> list[Shape]:
    """Those of the outputs, without the batch axis."""
    specs = model.module.inputs
    sizes: list[Shape] = [(spec.batch or 1, *map(_known, spec.shape)) for spec in specs]
    if any(size is None for spec in specs for size in spec.shape):
        if data is None:
            raise ConversionError(
                "a model with several outputs needs inputs whose sizes are all known; give them to "
                "keras.Input, or use bridge.fit"
            )
        x = next(iter(data.source.pieces()))[0] if isinstance(data, Streamed) else data.x
        sizes = [np.shape(part) for part in ([x] if len(specs) == 1 else x)]
    inputs = [
        jax.ShapeDtypeStruct(size, "float32" if "float" in spec.dtype else "int32")
        for size, spec in zip(sizes, specs, strict=True)
    ]
    run = partial(model.pure(), model.params)
    outputs = jax.eval_shape(run, inputs[0] if len(inputs) == 1 else inputs)
    return [tuple(output.shape[1:]) for output in outputs]


def _known(size: int | None) -> int:
    return 1 if size is None else size
