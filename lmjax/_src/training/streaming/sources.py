"""Data that is read in pieces, again and again: arrays on disk, and collections of batches."""

from __future__ import annotations

import dataclasses
import mmap
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

import jax
import numpy as np

from lmjax._src.arrays.foreign import is_sparse
from lmjax._src.arrays.numbers import each, real_array
from lmjax._src.training.dataset import common_length
from lmjax._src.training.streaming.datasets import check_dataset, check_file
from lmjax._src.typing import Array, PyTree

#: x, y and sample_weight (None without weights) of some rows.
Piece = tuple[PyTree, PyTree, PyTree]

_PIECE_BYTES = 4 * 2**20  #: read from arrays on disk at once; large enough for a disk's full rate


class Source(Protocol):
    """Rows of data that can be read from the beginning as often as needed."""

    def pieces(self) -> Iterator[Piece]:
        """All rows, once, in pieces of any number of rows."""


@dataclasses.dataclass(frozen=True)
class ArraySource:
    """Arrays with the rows along the first axis, some of them on disk: NumPy memory maps, HDF5 or
    Zarr datasets.

    Attributes:
        x: an array (N, …) or a pytree of such.
        y: targets (N, …).
        sample_weight: (N,) or None.
    """

    x: PyTree
    y: PyTree
    sample_weight: PyTree = None

    def pieces(self) -> Iterator[Piece]:
        """See :class:`Source`; a memory map's pages are let go after each piece, so that they do
        not add up.
        """
        arrays = (self.x, self.y, self.sample_weight)
        num_rows = common_length(
            {"x": self.x, "y": self.y}
            | ({} if self.sample_weight is None else {"sample_weight": self.sample_weight})
        )
        row_bytes = sum(
            leaf.dtype.itemsize * int(np.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(arrays)
        )
        rows = max(1, _PIECE_BYTES // max(row_bytes, 1))
        for start in range(0, num_rows, rows):
            for leaf in jax.tree.leaves(arrays):
                _check_whole(leaf)
            piece = jax.tree.map(lambda leaf, rows=slice(start, start + rows): leaf[rows], arrays)
            for leaf in jax.tree.leaves(arrays):
                _check_whole(leaf)  # again, for HDF5 has read zeros if it was cut off meanwhile
            yield piece
            for leaf in jax.tree.leaves(arrays):
                _let_go(leaf)


@dataclasses.dataclass(frozen=True)
class BatchSource:
    """Batches (x, y) or (x, y, sample_weight) from ``batches()``, which is called for every pass
    over the data.

    Attributes:
        batches: makes an iterator over the batches.
        name: what the batches are called in messages.
    """

    batches: Callable[[], Iterator[PyTree]]
    name: str = "x"

    def pieces(self) -> Iterator[Piece]:
        """See :class:`Source`."""
        for number, batch in enumerate(self.batches()):
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                given = (
                    f"{len(batch)} parts"
                    if isinstance(batch, (tuple, list))
                    else type(batch).__name__
                )
                raise ValueError(
                    f"{self.name}: expected batches (x, y) or (x, y, sample_weight), got "
                    f"{given} in batch {number}"
                )
            x, y, sample_weight = (*batch, None)[:3]
            # Copies: a generator may fill the same arrays again for its next batch.
            inputs = each(x, f"{self.name}: x", _copy, is_sparse)
            yield (
                inputs,
                each(y, f"{self.name}: y", _copy, _is_whole),
                None
                if sample_weight is None
                else each(sample_weight, f"{self.name}: sample_weight", _copy, _is_whole),
            )


def find_source(
    x: PyTree, y: PyTree, sample_weight: PyTree = None, name: str = "x"
) -> Source | None:
    """The data as a :class:`Source` if it is to be read in pieces; None if it is arrays in memory.

    Args:
        x: arrays, a :class:`Source`, or with ``y`` None a collection of batches: a
            ``tf.data.Dataset``, a Keras ``PyDataset``, any collection that can be iterated again
            and again, or a function without arguments that returns an iterator.
        y: targets or None.
        sample_weight: weights or None.
        name: what ``x`` is called in messages.

    Raises:
        TypeError: ``y`` is None and ``x`` is no collection of batches, or one that can be read only
            once.
        ValueError: weights were given beside batches.
    """
    if callable(getattr(x, "pieces", None)):
        return cast(Source, x)
    if y is not None:
        leaves = jax.tree.leaves((x, y, sample_weight))
        for leaf in leaves:
            if _library(leaf) == "h5py" and not hasattr(leaf, "shape"):
                raise TypeError(
                    f"{name}: expected an HDF5 dataset, got {leaf!r}; pass one of its "
                    "datasets, as in x=file['x']"
                )
        if not any(
            isinstance(leaf, np.memmap) or _library(leaf) in ("h5py", "zarr") for leaf in leaves
        ):
            return None
        parts = ((x, name), (y, "y"), (sample_weight, "sample_weight"))
        return ArraySource(
            *(each(part, called, _as_array_or_dataset, is_sparse) for part, called in parts)
        )
    if sample_weight is not None:
        raise ValueError(
            "sample_weight: with a collection of batches the weights are the third part "
            "of each batch"
        )
    return BatchSource(_iterator_maker(x, name), name)


def _iterator_maker(batches: PyTree, name: str) -> Callable[[], Iterator[PyTree]]:
    if isinstance(batches, (np.ndarray, jax.Array, dict, str)) or hasattr(batches, "__array__"):
        raise TypeError(
            "y: there are no targets; pass y, or as x a collection of batches (x, y)"
            if name == "x"
            else f"{name}: expected (x, y), (x, y, sample_weight) or a collection of batches "
            f"(x, y), got {type(batches).__name__} without targets"
        )
    if _is_endless(batches):
        raise ValueError(
            f"{name}: the data set repeats without end; leave out repeat(), every step "
            "reads all rows once"
        )
    if callable(getattr(batches, "on_epoch_end", None)) and hasattr(batches, "__getitem__"):
        # A Keras PyDataset or Sequence, whose indices have no end of their own.
        return lambda: _numbered_batches(batches)
    if isinstance(batches, Iterator):
        raise TypeError(
            f"{name}: a {type(batches).__name__} can be read only once, and the fit reads the "
            "data in every step; pass the function that makes it, or a collection of batches"
        )
    if hasattr(batches, "__iter__"):
        return lambda: iter(batches)
    if callable(batches):
        return lambda: iter(batches())
    raise TypeError(
        f"{name}: expected arrays (with y) or a collection of batches (x, y), got "
        f"{type(batches).__name__}"
    )


def _is_endless(batches: PyTree) -> bool:
    """Whether a ``tf.data.Dataset`` (cardinality -1) or a ``PyDataset`` (no number of batches) says
    that it has no end.
    """
    cardinality = getattr(batches, "cardinality", None)
    if callable(cardinality):
        return int(cardinality()) == -1
    return hasattr(batches, "num_batches") and batches.num_batches is None


def _numbered_batches(dataset: Any) -> Iterator[PyTree]:
    for index in range(dataset.num_batches if hasattr(dataset, "num_batches") else len(dataset)):
        yield dataset[index]


def _library(leaf: Any) -> str:
    """The top-level package of the leaf's type: h5py and Zarr are recognised without importing
    them.
    """
    return type(leaf).__module__.partition(".")[0]


def _as_array_or_dataset(leaf: Any, name: str) -> Any:
    if _library(leaf) == "h5py" and hasattr(leaf, "is_virtual"):
        check_dataset(leaf, name)
    return (
        leaf
        if _library(leaf) in ("h5py", "zarr") or isinstance(leaf, np.memmap)
        else np.asarray(real_array(leaf, name))
    )


def _is_whole(part: PyTree) -> bool:
    """Targets and weights are one array each, perhaps in dictionaries and in lists of arrays; other
    lists are lists of numbers.
    """
    if isinstance(part, (tuple, list)):
        return all(np.ndim(one) == 0 if hasattr(one, "shape") else _is_whole(one) for one in part)
    return not isinstance(part, dict)


def _copy(leaf: Array, name: str) -> Array:
    return np.array(real_array(leaf, name))


def _check_whole(leaf: Array) -> None:
    """Raises :class:`ValueError` where a memory map's file was cut off since: the system kills who
    reads what is no longer there.
    """
    mapped = _mapped(leaf)
    if mapped is not None:
        end = leaf.offset - leaf.offset % mmap.ALLOCATIONGRANULARITY + len(mapped)
        if mapped.size() < end:
            raise ValueError(
                f"{leaf.filename}: the file was cut off while it was read; it has "
                f"{mapped.size()} bytes and had {end}"
            )
    if _library(leaf) == "h5py":
        check_file(leaf)


def _mapped(leaf: Array) -> mmap.mmap | None:
    """The memory map under an array, or under what it is a view of."""
    base: Array = leaf
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(leaf, np.memmap) and isinstance(base, mmap.mmap) else None


def _let_go(leaf: Array) -> None:
    """Drops the pages of a memory map from this process; the file and the system's cache of it keep
    them.
    """
    mapped = _mapped(leaf)
    # "c" keeps changes in these very pages.
    if mapped is not None and leaf.mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
