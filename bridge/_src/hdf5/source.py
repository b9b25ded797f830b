"""The bytes of a file, read with every place checked and all that is read counted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

#: What stands for "nowhere" in the place of an address.
UNDEFINED = (1 << 64) - 1
#: No stream of deflate expands further than this (zlib's documentation).
MAX_EXPANSION = 1032
#: An honest file needs each byte of its structure a few times; one whose parts share others would
#: need them without end.
_READINGS, _FREE = 16, 1 << 20


class HDF5Error(ValueError):
    """A file that is damaged or hostile, or a :class:`UnreadHDF5Error`."""


class UnreadHDF5Error(HDF5Error):
    """A file that uses a part of the format that is not read here; nothing is known to be wrong
    with it.
    """


class Source:
    """A file open for reading.

    Args:
        file: Seekable, binary.
        on_disk: Its size as it lies on the disk, where it is compressed as a whole; None for its
            size.
    """

    def __init__(self, file: IO[bytes], on_disk: int | None = None) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        self._structure = _READINGS * self.size + _FREE
        self._stored = self.size
        self._memory = MAX_EXPANSION * (self.size if on_disk is None else on_disk)

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes of the file's structure.

        Raises:
            HDF5Error: when they are not in the file, or far more was read than an honest file
                holds.
        """
        self.count(length)
        self._seek(address, length)
        return self._file.read(length)

    def count(self, length: int) -> None:
        """Counts bytes of the structure that are used once more."""
        self._structure -= length
        if self._structure < 0:
            raise HDF5Error("its parts refer to each other without end")

    def expect(self, stored: int, needed: int) -> None:
        """Counts values that lie in ``stored`` bytes of the file and need ``needed`` bytes of
        memory.

        Raises:
            HDF5Error: when they are more than what the file holds can be.
        """
        self._stored -= stored
        self._memory -= needed
        if self._stored < 0 or self._memory < 0:
            raise HDF5Error("its datasets together claim more than the file can hold")

    def read_values(self, address: int, length: int) -> bytes:
        """``length`` bytes of values, which :meth:`expect` has counted."""
        self._seek(address, length)
        return self._file.read(length)

    def fill(self, address: int, values: np.ndarray) -> None:
        """Reads the bytes of ``values``, an array of its own memory, from ``address`` on."""
        self._seek(address, values.nbytes)
        if values.nbytes:
            buffer = memoryview(values.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
            if self._file.readinto(buffer) != values.nbytes:  # type: ignore[attr-defined]
                raise HDF5Error("it ends in the middle of values")

    def check(self, address: int, length: int) -> None:
        """Raises :class:`HDF5Error` when these bytes are not in the file."""
        if not 0 <= address <= address + length <= self.size:
            raise HDF5Error(
                f"it refers to bytes {address} to {address + length}, but has {self.size}"
            )

    def _seek(self, address: int, length: int) -> None:
        self.check(address, length)
        self._file.seek(address)


class Cursor:
    """Numbers and bytes taken one after the other from a piece of the file."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data, self.position = data, position

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        begin, self.position = self.position, self.position + length
        if length < 0 or self.position > len(self.data):
            raise HDF5Error("a part of it is shorter than it says")
        return self.data[begin : self.position]

    def number(self, length: int) -> int:
        """The next unsigned integer of ``length`` bytes."""
        return int.from_bytes(self.take(length), "little")

    def unpack(self, layout: str) -> tuple[Any, ...]:
        """The next numbers, as :mod:`struct` describes them, without padding."""
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def expect(self, signature: bytes) -> None:
        """Raises :class:`HDF5Error` unless the next bytes are these."""
        if self.take(len(signature)) != signature:
            raise HDF5Error(f"it has no {signature.decode('latin-1')!r} where there should be one")

    def align(self, origin: int = 0) -> None:
        """Moves to the next multiple of eight bytes behind ``origin``."""
        self.position += -(self.position - origin) % 8

    def __bool__(self) -> bool:
        return self.position < len(self.data)


class Walk:
    """Places that are visited once each, in the order in which they were added last."""

    def __init__(self, start: Any) -> None:
        self._waiting, self._seen = [start], {start}

    def add(self, place: Any) -> None:
        """Adds a place that is to be visited; raises :class:`HDF5Error` when it was added
        before.
        """
        if place in self._seen:
            raise HDF5Error("a part of it contains itself")
        self._seen.add(place)
        self._waiting.append(place)

    def __iter__(self) -> Iterator[Any]:
        while self._waiting:
            yield self._waiting.pop()
