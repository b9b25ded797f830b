"""One loss of several outputs: the weighted sum of theirs, with the block diagonal of theirs as its
curvature, so that one Gauss-Newton matrix holds for all.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.offset import has_offset
from lmjax._src.typing import Array, PyTree, Shape


@dataclasses.dataclass(frozen=True)
class Part:
    """What stands for one output in a row: ``shape`` are its sizes without the batch axis."""

    loss: Loss
    shape: Shape
    weight: float = 1.0

    @property
    def size(self) -> int:
        """The numbers in one row of the output."""
        return math.prod(self.shape)

    @property
    def target_shape(self) -> Shape:
        """Of one row of its targets."""
        return tuple(self.loss.target_shape((1, *self.shape))[1:])

    @property
    def steps(self) -> Shape:
        """The axes that weights of one row may have."""
        own = getattr(self.loss, "steps", None)
        return tuple(own((1, *self.shape))) if callable(own) else ()

    @property
    def weights_shape(self) -> Shape:
        """Of one row of weights as the loss keeps them."""
        return tuple(np.shape(self.kept_weights(np.ones((1, *self.steps))))[1:])

    def entering(self, targets: Array) -> Array:
        """Targets as the loss takes them: indices as whole numbers."""
        indices = not self.loss.takes_quantities and jnp.issubdtype(targets.dtype, jnp.floating)
        return jnp.rint(targets).astype(int) if indices else targets

    def kept_weights(self, weights: Array) -> Array:
        """Weights (N, *steps) as the loss keeps them."""
        return self.loss.parts(weights) if hasattr(self.loss, "parts") else weights


@dataclasses.dataclass(frozen=True)
class CombinedLoss:
    """The sum of the losses of ``parts``, times their weights; rows are laid side by side.

    Outputs are flat, part after part, and so are targets. Weights of a row have a number for each
    step of each part. Integer targets that are indices for a part are whole numbers beside
    quantities, and integers again for its loss.
    """

    parts_of_row: tuple[Part, ...]

    def __getattr__(self, name: str) -> Any:
        """What not every loss has: offsets, and a look at rows before a fit."""
        own: dict[str, tuple[str, Any]] = {
            "offset": ("offset", self._offset),
            "weighted_offset": ("offset", self._weighted_offset),
            "examine": ("examine", self._examine),
        }
        if name not in own or not any(hasattr(p.loss, own[name][0]) for p in self.parts_of_row):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return own[name][1]

    @property
    def takes_quantities(self) -> bool:
        """See :class:`lmjax.extend.Loss`: integers stay such if all parts want that."""
        return any(part.loss.takes_quantities for part in self.parts_of_row)

    @property
    def size(self) -> int:
        """The numbers in one row of all outputs."""
        return sum(part.size for part in self.parts_of_row)

    def target_shape(self, outputs_shape: Shape) -> Shape:
        """See :class:`lmjax.extend.Loss`."""
        return (
            outputs_shape[0],
            sum(math.prod(part.target_shape) for part in self.parts_of_row),
        )

    def prepare(self, targets: PyTree, outputs_shape: Shape) -> None:
        """The parts were checked before they were laid side by side."""

    def value(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See :class:`lmjax.extend.Loss`."""
        return self._sum(
            part.weight * part.loss.value(own, wanted)
            for part, own, wanted in self._with_targets(outputs, targets)
        )

    def root_product(self, outputs: jax.Array, targets: jax.Array, vector: jax.Array) -> jax.Array:
        """The parts', times the roots of their weights."""
        pieces = self._split(vector, lambda part: part.shape)
        return jnp.concatenate(
            [
                part.weight**0.5 * part.loss.root_product(own, wanted, piece).ravel()
                for (part, own, wanted), piece in zip(
                    self._with_targets(outputs, targets), pieces, strict=True
                )
            ]
        )

    def pseudo_residuals(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The parts', times the roots of their weights."""
        return jnp.concatenate(
            [
                part.weight**0.5 * part.loss.pseudo_residuals(own, wanted).ravel()
                for part, own, wanted in self._with_targets(outputs, targets)
            ]
        )

    def steps(self, outputs_shape: Shape) -> Shape:
        """See :class:`lmjax.extend.ByStep`: the steps of all parts, in one axis."""
        return (sum(math.prod(part.steps) for part in self.parts_of_row),)

    def parts(self, weights: Array) -> Array:
        """See :class:`lmjax.extend.ByStep`; weights of rows alone stay such."""
        if weights.ndim == 1:
            return weights
        pieces = self._split(weights, lambda part: part.steps)
        return np.concatenate(
            [
                part.kept_weights(piece).reshape(len(weights), -1)
                for part, piece in zip(self.parts_of_row, pieces, strict=True)
            ],
            axis=1,
        )

    def weighted_value(
        self, outputs: jax.Array, targets: jax.Array, weights: jax.Array
    ) -> jax.Array:
        """See :class:`lmjax.extend.ByStep`."""
        pieces = self._split(weights, lambda part: part.weights_shape)

        def of_part(part: Part, own: Array, wanted: Array, piece: Array) -> Array:
            loss: Any = part.loss
            return (
                loss.weighted_value(own, wanted, piece)
                if piece.ndim
                else piece * loss.value(own, wanted)
            )

        return self._sum(
            part.weight * of_part(part, own, wanted, piece)
            for (part, own, wanted), piece in zip(
                self._with_targets(outputs, targets), pieces, strict=True
            )
        )

    def spread(self, weights: jax.Array, outputs: jax.Array) -> jax.Array:
        """See :class:`lmjax.extend.ByStep`."""
        pieces = self._split(weights, lambda part: part.weights_shape)
        owns = self._split(outputs, lambda part: part.shape)

        def of_part(part: Part, own: Array, piece: Array) -> Array:
            loss: Any = part.loss
            return jnp.broadcast_to(loss.spread(piece, own) if piece.ndim else piece, own.shape)

        return jnp.concatenate(
            [
                of_part(part, own, piece).ravel()
                for part, own, piece in zip(self.parts_of_row, owns, pieces, strict=True)
            ]
        )

    def _offset(self, targets: jax.Array) -> jax.Array:
        pieces = self._split(targets, lambda part: part.target_shape)
        return self._sum(
            part.weight * part.loss.offset(part.entering(wanted))  # type: ignore[attr-defined]
            for part, wanted in zip(self.parts_of_row, pieces, strict=True)
            if has_offset(part.loss)
        )

    def _weighted_offset(self, targets: jax.Array, weights: jax.Array) -> jax.Array:
        all_wanted = self._split(targets, lambda part: part.target_shape)
        pieces = self._split(weights, lambda part: part.weights_shape)

        def of_part(part: Part, wanted: Array, piece: Array) -> Array:
            loss: Any = part.loss
            wanted = part.entering(wanted)
            return (
                loss.weighted_offset(wanted, piece) if piece.ndim else piece * loss.offset(wanted)
            )

        return self._sum(
            part.weight * of_part(part, wanted, piece)
            for part, wanted, piece in zip(self.parts_of_row, all_wanted, pieces, strict=True)
            if has_offset(part.loss)
        )

    def _examine(self, outputs: jax.Array, targets: jax.Array) -> None:
        for part, own, wanted in self._with_targets(outputs, targets):
            examine = getattr(part.loss, "examine", None)
            if callable(examine):
                examine(own, wanted)

    def _with_targets(
        self, outputs: jax.Array, targets: jax.Array
    ) -> Iterator[tuple[Part, jax.Array, jax.Array]]:
        owns = self._split(outputs, lambda part: part.shape)
        all_wanted = self._split(targets, lambda part: part.target_shape)
        for part, own, wanted in zip(self.parts_of_row, owns, all_wanted, strict=True):
            yield part, own, part.entering(wanted)

    def _split(self, row: Array, shape: Callable[[Part], Shape]) -> list[Array]:
        """The pieces of the last axis of ``row``, in the shapes that the parts have."""
        shapes = [shape(part) for part in self.parts_of_row]
        ends = list(itertools.accumulate(map(math.prod, shapes)))
        return [
            row[..., end - math.prod(sizes) : end].reshape(*row.shape[:-1], *sizes)
            for sizes, end in zip(shapes, ends, strict=True)
        ]

    @staticmethod
    def _sum(values: Iterator[jax.Array]) -> jax.Array:
        total = next(values)
        for value in values:
            total = total + value
        return total
