"""What a group holds, in each of the three forms in which the library writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bridge._src.hdf5.heaps import FractalHeap, local_heap, name_in
from bridge._src.hdf5.objects import Kind, Message
from bridge._src.hdf5.source import UNDEFINED, Cursor, HDF5Error, Source
from bridge._src.hdf5.trees import leaves, records

_HARD, _SOFT, _EXTERNAL = 0, 1, 64


class Link(NamedTuple):
    """A name in a group: the address of an object in the file, or None and what kind of link to
    elsewhere it is.
    """

    name: str
    address: int | None
    elsewhere: str = ""


def read_links(source: Source, found: Sequence[Message]) -> dict[str, Link]:
    """The links of the group with these messages, sorted by name as the library lists them."""
    links = {link.name: link for message in found for link in _links(source, message)}
    return dict(sorted(links.items()))


def _links(source: Source, message: Message) -> Iterator[Link]:
    if message.kind == Kind.LINK:
        yield _link(message.cursor())
    elif message.kind == Kind.LINK_INFO:
        cursor = message.cursor()
        _, flags = cursor.unpack("BB")
        cursor.take(8 if flags & 1 else 0)
        heap, names = cursor.unpack("QQ")
        yield from _dense_links(source, heap, names)
    elif message.kind == Kind.SYMBOL_TABLE:
        tree, heap = message.cursor().unpack("QQ")
        yield from _old_links(source, tree, local_heap(source, heap))


def _old_links(source: Source, tree: int, names: bytes) -> Iterator[Link]:
    for _, place in leaves(source, tree, 0, 8):
        (count,) = Cursor(source.read(place, 8), 6).unpack("H")
        node = Cursor(source.read(place, 8 + 40 * count))
        node.expect(b"SNOD")
        node.take(4)
        for _ in range(count):
            name, address, cached = node.unpack("QQI20x")
            soft = cached == 2
            yield Link(name_in(names, name), None if soft else address, "SoftLink" if soft else "")


def _dense_links(source: Source, heap: int, names: int) -> Iterator[Link]:
    if heap == UNDEFINED:
        return
    held = FractalHeap(source, heap)
    for record in records(source, names):
        message = held[record[4:]]  # behind the hash of the name
        source.count(len(message))
        yield _link(Cursor(message))


def _link(cursor: Cursor) -> Link:
    version, flags = cursor.unpack("BB")
    if version != 1:
        raise HDF5Error(f"it has a link of version {version}")
    kind = cursor.number(1) if flags & 8 else _HARD
    cursor.take((8 if flags & 4 else 0) + (1 if flags & 16 else 0))
    name = cursor.take(cursor.number(1 << (flags & 3))).decode()
    if kind == _HARD:
        return Link(name, cursor.number(8))
    return Link(
        name,
        None,
        {_SOFT: "SoftLink", _EXTERNAL: "ExternalLink"}.get(kind, "link of an unknown kind"),
    )
