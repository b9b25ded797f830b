"""The lines of a text file of data, compressed or not, or of standard input: in UTF-8, and bounded,
whoever has written them.
"""

from __future__ import annotations

import gzip
import io
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from bridge._src.command.failure import CommandError

#: In place of a file, what the command is given through a pipe.
STANDARD_INPUT = Path("-")
GZIP = b"\x1f\x8b"
#: How unpacking fails.
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
#: What Unicode puts in front of texts in units of two bytes or four.
_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
#: So far a compressed file may expand whatever it holds, and beyond that to so many times its size:
#: tables of numbers shrink to between a half and a thirtieth, and only bombs to a thousandth.
_ALWAYS = 2**28
_MOST_EXPANSION = 100
#: Characters; the columns of wide tables count in the tens of thousands.
_LONGEST_LINE = 2**26


def called(path: Path) -> str:
    """What messages call a file of data."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def check_regular(path: Path) -> None:
    """Raises :class:`CommandError` for a pipe or a device, which might never end."""
    if path != STANDARD_INPUT and not (path.is_dir() or stat.S_ISREG(path.stat().st_mode)):
        raise CommandError(
            f"{path}: is a pipe or a device and no file; give - and redirect it to standard input"
        )


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """The bytes of a file, or of standard input; raises :class:`CommandError` where that is
    closed.
    """
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise CommandError("standard input is closed; name a file in place of -")
        yield cast(io.BufferedReader, sys.stdin.buffer)
        return
    with path.open("rb") as file:
        yield file


class Lines:
    """The lines of a text, one after the other.

    Attributes:
        ended: whether the last line that was taken has an end.
    """

    def __init__(self, name: str, file: io.BufferedReader) -> None:
        self.ended = False
        self._name = name
        start = file.peek(4)
        if start.startswith(GZIP):
            file = io.BufferedReader(_Unpacked(name, file))
            try:
                start = file.peek(4)
            except _DAMAGE as error:
                raise _damaged(name, 0, error) from None
        for mark, encoding in _MARKS.items():
            if start.startswith(mark):
                raise CommandError(f"{name}: is text in {encoding}; save it as UTF-8")
        if b"\0" in start:
            raise CommandError(
                f"{name}: holds zero bytes, so that it is no text, or one in UTF-16; save it as "
                "UTF-8"
            )
        self._text = io.TextIOWrapper(
            file, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )

    def __iter__(self) -> Iterator[str]:
        number = 0
        while line := self._next(number):
            number += 1
            self.ended = line.endswith(("\n", "\r"))
            if len(line) == _LONGEST_LINE and not self.ended:
                raise CommandError(
                    f"{self._name}: line {number} has more than {_LONGEST_LINE} characters, as no "
                    "table has"
                )
            if not line.isascii():
                self._check_encoding(line, number)
            yield line

    def _next(self, number: int) -> str:
        try:
            return self._text.readline(_LONGEST_LINE)
        except _DAMAGE as error:
            raise _damaged(self._name, number, error) from None

    def close(self) -> None:
        """Leaves the file to whoever opened it, which may be standard input."""
        self._text.detach()

    def _check_encoding(self, line: str, number: int) -> None:
        try:
            line.encode()
        except UnicodeEncodeError as error:
            raise CommandError(
                f"{self._name}: line {number} holds the byte "
                f"0x{ord(line[error.start]) & 0xFF:02x}, which is no UTF-8; it seems to be text in "
                "Latin-1 or Windows-1252: save it as UTF-8"
            ) from None


def _damaged(name: str, line: int, error: Exception) -> CommandError:
    return CommandError(f"{name}: is cut off or damaged after line {line} ({error})")


class _Unpacked(io.RawIOBase):
    """What is in a file that gzip has packed, as long as it does not grow out of all proportion."""

    def __init__(self, name: str, file: io.BufferedReader) -> None:
        self._name, self._packed = name, _Counted(file)
        self._file = gzip.GzipFile(mode="rb", fileobj=cast(IO[bytes], self._packed))
        self._unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._file.read1(len(buffer))
        buffer[: len(part)] = part
        self._unpacked += len(part)
        if self._unpacked > max(_ALWAYS, _MOST_EXPANSION * self._packed.count):
            raise CommandError(
                f"{self._name}: expands to more than {_MOST_EXPANSION} times its size; unpack it "
                "with gunzip first if it is what it should be"
            )
        return len(part)


class _Counted:
    """A file whose bytes are counted as they are read."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.count = 0
        self._file = file

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size)
        self.count += len(part)
        return part
