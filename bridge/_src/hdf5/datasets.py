"""Datasets: arrays that lie in one piece, in the object itself, or in chunks that may be
compressed.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bridge._src.hdf5.datatypes import Datatype, read_datatype, read_shape
from bridge._src.hdf5.objects import Kind, Message
from bridge._src.hdf5.source import (
    MAX_EXPANSION,
    UNDEFINED,
    Cursor,
    HDF5Error,
    Source,
    UnreadHDF5Error,
)
from bridge._src.hdf5.trees import leaves

_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)
_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3
_CHECKSUM = 4  #: bytes that the filter Fletcher32 adds


class Chunk(NamedTuple):
    """Where a chunk lies: address, stored bytes, the filters that were left out, and its place in
    the array.
    """

    address: int
    stored: int
    mask: int
    place: tuple[int, ...]


class Layout(NamedTuple):
    """How the values lie in the file.

    Attributes:
        elsewhere: Whether they lie in another file.
        stored: How many bytes of them the file says it has.
        compact: The values themselves, when they lie in the object.
        address: Where they begin, when they lie in one piece.
        chunk: The shape of a chunk, if there are chunks.
        chunks: All chunks.
        filters: Filters in the order in which they were applied: number and first option.
    """

    elsewhere: bool = False
    stored: int = 0
    compact: bytes | None = None
    address: int = UNDEFINED
    chunk: tuple[int, ...] | None = None
    chunks: tuple[Chunk, ...] = ()
    filters: tuple[tuple[int, int], ...] = ()

    @property
    def expansion(self) -> int:
        """How many times larger than what is stored the values can honestly be."""
        return MAX_EXPANSION if any(number == _DEFLATE for number, _ in self.filters) else 1


def read_type(found: Sequence[Message]) -> tuple[Datatype, tuple[int, ...]]:
    """Type and shape of the dataset with these messages; one without values has the shape (0,)."""
    by_kind = {message.kind: message for message in found}
    if Kind.DATATYPE not in by_kind or Kind.DATASPACE not in by_kind:
        raise HDF5Error("a dataset in it has no type or no shape")
    shape = read_shape(by_kind[Kind.DATASPACE].cursor())
    return read_datatype(by_kind[Kind.DATATYPE].cursor()), (0,) if shape is None else shape


def read_layout(source: Source, found: Sequence[Message]) -> Layout:
    """How the values of the dataset with these messages lie in the file."""
    by_kind = {message.kind: message for message in found}
    cursor = by_kind[Kind.LAYOUT].cursor()
    version = cursor.number(1)
    if version not in (3, 4):
        raise UnreadHDF5Error(
            f"it has a dataset with a layout of version {version}, which is not read"
        )
    kind = cursor.number(1)
    if kind == _VIRTUAL or Kind.EXTERNAL in by_kind:
        return Layout(elsewhere=True)
    if kind == _COMPACT:
        values = cursor.take(cursor.number(2))
        return Layout(stored=len(values), compact=values)
    if kind == _CONTIGUOUS:
        address, size = cursor.unpack("QQ")
        return Layout(stored=0 if address == UNDEFINED else min(size, source.size), address=address)
    if kind != _CHUNKED or version != 3:
        raise UnreadHDF5Error(
            "it has a dataset in chunks of a kind that is not read; write it without "
            "libver='latest'"
        )
    rank = cursor.number(1) - 1
    if rank < 1:
        raise HDF5Error("a dataset in it has chunks of no dimension")
    tree, *chunk, _ = cursor.unpack(f"Q{rank}II")
    chunks = () if tree == UNDEFINED else tuple(_chunks(source, tree, rank))
    filters = read_filters(by_kind)
    return Layout(
        False,
        min(sum(chunk.stored for chunk in chunks), source.size),
        None,
        UNDEFINED,
        tuple(chunk),
        chunks,
        filters,
    )


def _chunks(source: Source, tree: int, rank: int) -> list[Chunk]:
    chunks = []
    for key, address in leaves(source, tree, 1, 8 + 8 * (rank + 1)):
        stored, mask, *place, _ = Cursor(key).unpack(f"II{rank}QQ")
        chunks.append(Chunk(address, stored, mask, tuple(place)))
    return chunks


def read_filters(by_kind: Mapping[int, Message]) -> tuple[tuple[int, int], ...]:
    """The filters of a dataset in the order in which they were applied: number and first option of
    each.
    """
    if Kind.FILTERS not in by_kind:
        return ()
    cursor = by_kind[Kind.FILTERS].cursor()
    version, count = cursor.unpack("BB")
    if version not in (1, 2):
        raise UnreadHDF5Error(f"it has filters of version {version}")
    cursor.take(6 if version == 1 else 0)
    filters = []
    for _ in range(count):
        number = cursor.number(2)
        name = cursor.number(2) if version == 1 or number >= 256 else 0
        _, options = cursor.unpack("HH")
        cursor.take(name + (-name % 8 if version == 1 else 0))
        values = cursor.unpack(f"{options}I")
        if version == 1 and options % 2:
            cursor.take(4)
        filters.append((number, values[0] if values else 0))
    unknown = [number for number, _ in filters if number not in (_DEFLATE, _SHUFFLE, _FLETCHER)]
    if unknown:
        raise UnreadHDF5Error(
            f"it has a dataset behind the filter {unknown[0]}, which is not read; write "
            "it with gzip or plainly"
        )
    return tuple(filters)


def read_values(
    source: Source, dtype: np.dtype, shape: tuple[int, ...], layout: Layout
) -> np.ndarray:
    """The values; memory is taken only once it is clear that the file can hold them.

    Raises:
        HDF5Error: when it cannot, or values are missing or damaged.
    """
    needed = math.prod(shape) * dtype.itemsize
    if layout.elsewhere or needed > layout.stored * layout.expansion:
        raise HDF5Error(f"a dataset in it claims {needed} bytes but stores {layout.stored}")
    source.expect(layout.stored, needed)
    if layout.compact is not None:
        return np.frombuffer(layout.compact[:needed], dtype).reshape(shape).copy()
    values = np.empty(shape, dtype)
    if layout.chunk is not None:
        _fill_chunks(source, values, layout.chunk, layout)
    elif needed:
        source.fill(layout.address, values)
    return values


def _fill_chunks(
    source: Source, values: np.ndarray, chunk: tuple[int, ...], layout: Layout
) -> None:
    size = math.prod(chunk) * values.itemsize
    if len(chunk) != values.ndim or size == 0:
        raise HDF5Error("a dataset in it has chunks of another shape")
    grid = [-(-length // step) for length, step in zip(values.shape, chunk, strict=True)]
    places = {found.place for found in layout.chunks}
    if len(places) != len(layout.chunks) or len(places) != math.prod(grid):
        raise HDF5Error(
            f"a dataset in it has {len(layout.chunks)} chunks in place of {math.prod(grid)}"
        )
    for found in layout.chunks:
        if any(
            begin % step or begin >= length
            for begin, step, length in zip(found.place, chunk, values.shape, strict=True)
        ):
            raise HDF5Error("a dataset in it has a chunk outside of it")
        source.expect(0, size)
        data = _decoded(
            source.read_values(found.address, found.stored),
            found.mask,
            layout.filters,
            size,
            values.itemsize,
        )
        target = values[
            tuple(
                slice(begin, begin + step) for begin, step in zip(found.place, chunk, strict=True)
            )
        ]
        piece = np.frombuffer(data, values.dtype).reshape(chunk)
        target[...] = piece[tuple(slice(length) for length in target.shape)]


def _decoded(
    data: bytes, mask: int, filters: Sequence[tuple[int, int]], size: int, itemsize: int
) -> bytes:
    """The bytes of a chunk of ``size`` bytes with its filters undone, last one first."""
    for position, (number, option) in reversed(list(enumerate(filters))):
        if mask >> position & 1:
            continue
        if number == _DEFLATE:
            data = _inflated(data, size + _CHECKSUM * len(filters))
        elif number == _FLETCHER:
            data = data[:-_CHECKSUM]
        elif len(data) % (option or itemsize) == 0:
            data = np.frombuffer(data, np.uint8).reshape(option or itemsize, -1).T.tobytes()
    if len(data) != size:
        raise HDF5Error(f"a chunk in it has {len(data)} bytes in place of {size}")
    return data


def _inflated(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most + 1)
    except zlib.error as error:
        raise HDF5Error(f"a chunk in it is damaged ({error})") from None
