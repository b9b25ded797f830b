"""A source as chunks of one size, checked in every pass, so that one compiled function serves all
of them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any, cast

import jax
import numpy as np

from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.objectives.losses.over_all import OverAll
from lmjax._src.objectives.losses.step_weights import of_rows
from lmjax._src.objectives.rows import Rows, filled
from lmjax._src.runtime import precision
from lmjax._src.training.dataset import check_rows, row_shape_of
from lmjax._src.training.streaming.sources import ArraySource, Piece, Source
from lmjax._src.training.weighted_draw import draw_keys, largest, weights_of_drawn
from lmjax._src.typing import DType, ModelFn, Params, PyTree

#: The most data in one chunk. At this size the dispatch of a chunk costs less than a thousandth of
#: its arithmetic.
_CHUNK_BYTES = 16 * 2**20


class Stream:
    """Chunks of ``chunk_rows`` rows of a source, the last one filled up with rows of weight zero.

    Making one reads the source once, to check and to count its rows. ``num_rows`` are N,
    ``row_bytes`` the memory of one of them.

    Args:
        source: the data.
        model: the model, for the shape of its outputs.
        params: its parameters.
        loss: decides the shape of the targets.
        dtype: of floating-point data.
        names: what x, y and sample_weight are called in messages.

    Raises:
        TypeError, ValueError: as :func:`lmjax._src.training.dataset.make_rows`; the number of the
            row counts from the beginning.
    """

    def __init__(
        self,
        source: Source,
        model: ModelFn,
        params: Params,
        loss: Loss,
        dtype: DType,
        names: tuple[str, str, str],
    ) -> None:
        self._source, self._loss, self._dtype, self._names = source, loss, dtype, names
        self._model, self._params = model, params
        self._row_shape: tuple[int, ...] | None = None
        self._form: tuple[Any, ...] | None = None
        self.latest: Rows | None = None  # the chunk that was summed last
        self._weights_laid_out = False
        self._over_all = OverAll(loss, collecting=True)
        self.num_rows, self.row_bytes, total_weight = 0, 0, 0.0
        for rows in self._pieces():
            self.num_rows += len(rows.targets)
            total_weight += float(np.sum(of_rows(np.asarray(rows.weights))))
            self.row_bytes = max(
                self.row_bytes,
                sum(leaf.nbytes for leaf in jax.tree.leaves(rows)) // max(len(rows.targets), 1),
            )
        if self.num_rows == 0:
            raise ValueError(f"{names[0]}: there are no rows of data")
        self._over_all.collecting = False
        total_weight *= self._over_all.factor
        if total_weight == 0:
            raise ValueError(f"{names[2]}: all weights are zero, so there is nothing to fit")
        self._mean_weight = total_weight / self.num_rows
        self.chunk_rows = self._even_chunks()

    @property
    def outputs_per_row(self) -> int:
        """How many numbers the model gives for each row."""
        assert self._row_shape is not None
        return math.prod(self._row_shape)

    def rechunked(self, chunk_rows: int) -> Stream:
        """The same rows in chunks of another size, without reading them again."""
        other = copy.copy(self)
        other.chunk_rows = chunk_rows
        return other

    def drawn(self, size: int) -> Stream:
        """So many rows at random, in memory: by their weights, and then of one weight, so that the
        mean stays what it was. In one pass.
        """
        random = np.random.default_rng(0)
        kept, keys, count = None, np.empty(0), 0
        for rows in self:
            influential = np.flatnonzero(of_rows(np.asarray(rows.weights)))
            rows = jax.tree.map(lambda leaf, some=influential: leaf[some], rows)
            weights = np.asarray(of_rows(rows.weights), float)
            count += len(influential)
            merged = np.concatenate([keys, draw_keys(random, weights)])
            chosen = largest(merged, size)
            old, new = chosen[chosen < len(keys)], chosen[chosen >= len(keys)] - len(keys)
            if len(new):
                new_rows = jax.tree.map(lambda leaf, new=new: leaf[new], rows)
                kept = (
                    new_rows
                    if kept is None
                    else jax.tree.map(
                        lambda a, b, old=old: np.concatenate([a[old], b]), kept, new_rows
                    )
                )
                keys = merged[np.concatenate([old, new + len(keys)])]
        assert kept is not None
        other = copy.copy(self)
        other.num_rows = len(keys)
        weights = weights_of_drawn(
            np.asarray(kept.weights), count, self.num_rows, self._mean_weight
        )
        other._source, other._weights_laid_out = (
            ArraySource(kept.inputs, kept.targets, weights),
            True,
        )
        other.chunk_rows = other._even_chunks()
        return other

    def _even_chunks(self) -> int:
        return math.ceil(
            self.num_rows
            / math.ceil(self.num_rows / max(1, _CHUNK_BYTES // max(self.row_bytes, 1)))
        )

    def __iter__(self) -> Iterator[Rows]:
        """One pass: chunks in memory of their own, with weights (0 for the rows that fill up the
        last one).

        Raises:
            ValueError: the source has more or fewer rows than in the pass before.
        """
        pending: list[Rows] = []
        count = seen = 0
        for rows in self._pieces():
            seen += len(rows.targets)
            if seen > self.num_rows:
                break
            pending.append(rows)
            count += len(rows.targets)
            while count >= self.chunk_rows:
                chunk, pending = _take(pending, self.chunk_rows)
                count -= self.chunk_rows
                yield chunk
        if seen != self.num_rows:
            now = "more" if seen > self.num_rows else seen
            raise ValueError(
                f"{self._names[0]}: the data had {self.num_rows} rows when they were read "
                f"first and {now} now; every pass must give the same rows (no random filter, "
                "no endless repetition)"
            )
        if count:
            yield _take(pending, self.chunk_rows)[0]

    def _pieces(self) -> Iterator[Rows]:
        start = 0
        for number, piece in enumerate(precision.taken_outside(self._source.pieces)):
            rows = self._checked(piece, start)
            if not len(rows.targets):
                continue
            self._form = self._form or _form_of(rows)
            if _form_of(rows) != self._form:
                raise ValueError(
                    f"{self._names[0]}: piece {number} of the data (rows from {start}) has "
                    f"arrays {_words(_form_of(rows))}, the first has {_words(self._form)}; all "
                    "must be alike but for the number of rows"
                )
            start += len(rows.targets)
            yield rows

    def _checked(self, piece: Piece, first_row: int) -> Rows:
        def row_shape(inputs: PyTree) -> tuple[int, ...]:
            if self._row_shape is None:  # traced once, with the first rows
                self._row_shape = row_shape_of(self._model, self._params, inputs, self._names[0])
            return self._row_shape

        x, y, weights = piece
        given = None if self._weights_laid_out else weights
        names, over_all = self._names, None if self._weights_laid_out else self._over_all
        rows = check_rows(
            x, y, given, self._loss, row_shape, self._dtype, names, first_row, over_all
        )
        if self._weights_laid_out:
            return rows._replace(weights=weights)
        # Pieces without weights may stand among pieces with weights of steps.
        steps = () if self._form is None else self._form[-1][0]
        return (
            rows
            if rows.weights is not None
            else rows._replace(
                weights=cast(jax.Array, np.ones((len(rows.targets), *steps), self._dtype))
            )
        )


def _form_of(rows: Rows) -> tuple[Any, ...]:
    leaves, treedef = jax.tree.flatten(rows)
    return treedef, *((leaf.shape[1:], np.dtype(leaf.dtype)) for leaf in leaves)


def _words(form: tuple[Any, ...]) -> str:
    return ", ".join(f"{dtype}{list(shape)}" for shape, dtype in form[1:])


def _take(pending: list[Rows], count: int) -> tuple[Rows, list[Rows]]:
    """The first ``count`` rows in new memory, filled up if there are fewer, and what is left."""
    available = sum(len(rows.targets) for rows in pending)
    cut = len(pending[-1].targets) - max(available - count, 0)
    head = [*pending[:-1], jax.tree.map(lambda leaf: leaf[:cut], pending[-1])]
    rest = [jax.tree.map(lambda leaf: leaf[cut:], pending[-1])] if available > count else []
    chunk: Rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *head)
    return chunk if available >= count else filled(chunk, count), rest
