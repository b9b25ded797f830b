"""B-trees of both versions, walked without recursion."""

from __future__ import annotations

from collections.abc import Iterator

from bridge._src.hdf5.source import UNDEFINED, Cursor, HDF5Error, Source, Walk

#: Signature, version, type and checksum of a node of version 2.
_OVERHEAD = 10


def leaves(
    source: Source, address: int, node_type: int, key_size: int
) -> Iterator[tuple[bytes, int]]:
    """Key and child of every entry in the leaves of the B-tree of version 1 at ``address``."""
    walk = Walk((address, None))
    for place, expected in walk:
        found, level, used = Cursor(source.read(place, 24), 4).unpack("BBH16x")
        node = Cursor(source.read(place, 24 + used * (key_size + 8)))
        node.expect(b"TREE")
        if found != node_type or expected not in (None, level):
            raise HDF5Error("a tree in it has a wrong node")
        node.take(20)
        for key, child in [(node.take(key_size), node.number(8)) for _ in range(used)]:
            if level == 0:
                yield key, child
            else:
                walk.add((child, level - 1))


def records(source: Source, address: int) -> Iterator[bytes]:
    """All records of the B-tree of version 2 at ``address``."""
    header = Cursor(source.read(address, 38))
    header.expect(b"BTHD")
    version, _, node_size, record_size, depth, root, used, _ = header.unpack("BBIHH2xQHQ")
    if version != 0 or node_size <= _OVERHEAD or record_size == 0 or depth > 16:
        raise HDF5Error("a tree in it is not as the format says")
    if root == UNDEFINED:
        return
    counts, totals = _pointer_sizes(node_size, record_size, depth)
    walk = Walk((root, used, depth))
    for place, number, level in walk:
        node = Cursor(source.read(place, node_size))
        node.expect(b"BTIN" if level else b"BTLF")
        node.take(2)
        for _ in range(number):
            yield node.take(record_size)
        for _ in range(number + 1 if level else 0):
            child, held = node.number(8), node.number(counts)
            node.take(totals[level - 1])
            walk.add((child, held, level - 1))


def _pointer_sizes(node_size: int, record_size: int, depth: int) -> tuple[int, list[int]]:
    """Bytes of the number of records in a child, and for each level of children those of the number
    of all below it.
    """
    most = below = (node_size - _OVERHEAD) // record_size
    counts, totals = bytes_of(most), [0]
    for _ in range(depth):
        pointer = 8 + counts + totals[-1]
        most = max(node_size - _OVERHEAD - pointer, 0) // (record_size + pointer)
        below = (most + 1) * below + most
        totals.append(bytes_of(below))
    return counts, totals


def bytes_of(limit: int) -> int:
    """How many bytes the library takes for numbers up to ``limit``."""
    return (max(limit, 1).bit_length() - 1) // 8 + 1
