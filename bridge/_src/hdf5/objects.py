"""Object headers: the messages that describe a group or a dataset."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from bridge._src.hdf5.source import Cursor, HDF5Error, Source, UnreadHDF5Error, Walk

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SMALLEST_USER_BLOCK = 512
#: Flag of a message that is stored elsewhere, with others.
_SHARED = 2


class Kind(IntEnum):
    """The messages that are read."""

    DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE = (
        0x1,
        0x2,
        0x3,
        0x6,
        0x7,
        0x8,
        0xB,
        0xC,
    )
    CONTINUATION, SYMBOL_TABLE, ATTRIBUTE_INFO = 0x10, 0x11, 0x15


class Message(NamedTuple):
    """One message of an object header."""

    kind: int
    flags: int
    data: bytes

    def cursor(self) -> Cursor:
        """Reads the message from its beginning."""
        if self.flags & _SHARED:
            raise UnreadHDF5Error("it shares descriptions between objects, which is not read")
        return Cursor(self.data)


def is_hdf5(beginning: bytes) -> bool:
    """Whether a file that begins so is an HDF5 file."""
    return beginning.startswith(_SIGNATURE)


def _places_behind_user_block(size: int) -> Iterator[int]:
    """Where the library looks for the signature when it is not at the beginning."""
    place = _SMALLEST_USER_BLOCK
    while place + len(_SIGNATURE) <= size:
        yield place
        place *= 2


def root_address(source: Source) -> int:
    """The address of the header of the root group."""
    if source.size < len(_SIGNATURE) or not is_hdf5(source.read(0, len(_SIGNATURE))):
        if any(
            is_hdf5(source.read(place, len(_SIGNATURE)))
            for place in _places_behind_user_block(source.size)
        ):
            raise UnreadHDF5Error(
                "it begins with a block of the user's, which is not read; write it "
                "without userblock_size"
            )
        raise HDF5Error("its first bytes are not those of an HDF5 file")
    start = Cursor(source.read(0, min(source.size, 96)), len(_SIGNATURE))
    version = start.number(1)
    if version in (0, 1):
        sizes = start.unpack("4xBB9x")
        base, root = start.unpack(f"{4 * version}xQ32xQ")
    elif version in (2, 3):
        sizes = start.unpack("BBx")
        base, _, _, root = start.unpack("QQQQ")
    else:
        raise UnreadHDF5Error(f"it has superblock version {version}")
    if sizes != (8, 8) or base != 0:
        raise UnreadHDF5Error(
            f"it has addresses of {sizes[0]} bytes from {base} on, which is not read"
        )
    return int(root)


def messages(source: Source, address: int) -> list[Message]:
    """All messages of the object header at ``address``."""
    if source.read(address, 4) == b"OHDR":
        return _messages_2(source, address)
    version, _, length = Cursor(source.read(address, 16)).unpack("Bx2xII4x")
    if version != 1:
        raise HDF5Error(f"it has an object header of version {version}")
    found = []
    blocks = Walk((address + 16, length))
    for begin, size in blocks:
        for message in _split(Cursor(source.read(begin, size)), "HHBxxx"):
            found.append(message)
            if message.kind == Kind.CONTINUATION:
                blocks.add(message.cursor().unpack("QQ"))
    return found


def _messages_2(source: Source, address: int) -> list[Message]:
    version, flags = Cursor(source.read(address + 4, 2)).unpack("BB")
    if version != 2:
        raise HDF5Error(f"it has an object header of version {version}")
    begin = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    head = "BHBxx" if flags & 4 else "BHB"
    found = []
    blocks = Walk((begin + width, Cursor(source.read(begin, width)).number(width)))
    for begin, size in blocks:
        for message in _split(Cursor(source.read(begin, size)), head):
            found.append(message)
            if message.kind == Kind.CONTINUATION:
                place, length = message.cursor().unpack("QQ")
                Cursor(source.read(place, 4)).expect(b"OCHK")
                blocks.add((place + 4, length - 8))  # without the signature and the checksum
    return found


def _split(block: Cursor, head: str) -> Iterator[Message]:
    """The messages in a block, whose heads have this layout; what is shorter than a head at the end
    is a gap.
    """
    shortest = struct.calcsize(f"<{head}")
    while len(block.data) - block.position >= shortest:
        kind, size, flags = block.unpack(head)
        yield Message(kind, flags, block.take(size))
