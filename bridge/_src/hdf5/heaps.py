"""Heaps: where names, texts, and the links and attributes of large groups are kept."""

from __future__ import annotations

from collections.abc import Iterator

from bridge._src.hdf5.source import UNDEFINED, Cursor, HDF5Error, Source
from bridge._src.hdf5.trees import bytes_of, records

_MANAGED, _HUGE, _TINY = 0, 1, 2


def local_heap(source: Source, address: int) -> bytes:
    """All names of an old group."""
    head = Cursor(source.read(address, 32))
    head.expect(b"HEAP")
    size, _, place = head.unpack("4xQQQ")
    return source.read(place, size)


def name_in(heap: bytes, offset: int) -> str:
    """The name at ``offset``, which ends with a zero."""
    end = heap.find(b"\0", offset)
    if not 0 <= offset <= end:
        raise HDF5Error("a name in it has no end")
    return heap[offset:end].decode()


def global_heap(source: Source, address: int) -> dict[int, bytes]:
    """The objects of a collection of the global heap by their numbers."""
    head = Cursor(source.read(address, 16))
    head.expect(b"GCOL")
    (size,) = head.unpack("4xQ")
    collection = Cursor(source.read(address, size), 16)
    found = {}
    while len(collection.data) - collection.position >= 16:
        number, length = collection.unpack("H6xQ")
        if number == 0:  # the rest is free
            break
        found[number] = collection.take(length)
        collection.align()
    return found


class FractalHeap:
    """The heap of a group with many links, or of an object with many or large attributes."""

    def __init__(self, source: Source, address: int) -> None:
        head = Cursor(source.read(address, 142))
        head.expect(b"FRHP")
        version, self._id_length, filtered, largest = head.unpack("BHHxI")
        self._huge = head.unpack("8xQ")[0]
        head.take(80)
        self._width, self._start, self._largest_direct, bits, _, self._root, self._rows = (
            head.unpack("HQQHHQH")
        )
        sizes = (self._start, self._largest_direct, self._width)
        if (
            version != 0
            or filtered
            or bits > 64
            or any(size < 1 or size & (size - 1) for size in sizes)
        ):
            raise HDF5Error("a heap in it is not as the format says, or compressed")
        self._source, self._offset = source, (bits + 7) // 8
        self._length = bytes_of(min(self._largest_direct, largest))
        # Signature, version, address of the heap, offset of the block, and in direct blocks the
        # checksum if there is one.
        self._prefix = 13 + self._offset
        self._blocks: dict[tuple[int, int], bytes] = {}

    def __getitem__(self, identifier: bytes) -> bytes:
        """The object that ``identifier`` names."""
        cursor = Cursor(identifier)
        head = cursor.number(1)
        kind = head >> 4
        if kind == _TINY and self._id_length <= 18:
            return cursor.take((head & 15) + 1)
        if kind == _HUGE:
            return self._huge_object(cursor)
        if kind != _MANAGED:
            raise HDF5Error("a heap in it has an object of unknown kind")
        offset, length = cursor.number(self._offset), cursor.number(self._length)
        begin, block = self._block(offset)
        return Cursor(block, offset - begin).take(length)

    def _huge_object(self, identifier: Cursor) -> bytes:
        """An object by the number in ``identifier``, or by the place where that has room for it."""
        if self._id_length > 16:
            place, length = identifier.unpack("QQ")
            return self._source.read(place, length)
        number = identifier.number(min(8, self._id_length - 1))
        for record in records(self._source, self._huge) if self._huge != UNDEFINED else ():
            place, length, found = Cursor(record).unpack("QQQ")
            if found == number:
                return self._source.read(place, length)
        raise HDF5Error("a heap in it lacks an object")

    def _block(self, offset: int) -> tuple[int, bytes]:
        """Where the direct block begins that holds ``offset``, and its bytes."""
        place, begin, size, rows = self._root, 0, self._start, self._rows
        for _ in range(64):
            if rows == 0:
                return begin, self._direct(place, size)
            found = next(
                (
                    entry
                    for entry in self._table(begin, rows)
                    if offset < entry[2] + entry[1] * self._width
                ),
                None,
            )
            if found is None:
                break
            row, size, begin = found
            column = (offset - begin) // size
            begin += column * size
            place = Cursor(
                self._source.read(place + self._prefix + 8 * (row * self._width + column), 8)
            ).number(8)
            rows = (
                0
                if size <= self._largest_direct
                else (size // (self._start * self._width)).bit_length()
            )
        raise HDF5Error("a heap in it lacks a block")

    def _table(self, begin: int, rows: int) -> Iterator[tuple[int, int, int]]:
        """Number of each row of an indirect block, size of a block in it, and where the first of
        these begins.
        """
        for row in range(min(rows, 64)):
            size = self._start << max(row - 1, 0)
            yield row, size, begin
            begin += size * self._width

    def _direct(self, place: int, size: int) -> bytes:
        if (place, size) not in self._blocks:
            block = self._source.read(place, size)
            Cursor(block).expect(b"FHDB")
            self._blocks[place, size] = block
        return self._blocks[place, size]
