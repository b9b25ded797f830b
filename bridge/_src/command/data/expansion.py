"""How much a file may hold for its size, so that a bomb fills no memory."""

from __future__ import annotations

from pathlib import Path

from bridge._src.command.failure import CommandError

#: Bytes of numbers that any file may hold, and so many times its size that a larger one may:
#: numbers shrink to between a half and a thirtieth, and only bombs to a thousandth.
_ALWAYS = 2**30
_MOST = 100


def check_expansion(file: str, path: Path, unpacked: int) -> None:
    """Raises :class:`CommandError` where ``unpacked`` bytes are out of all proportion to the size
    of the file at ``path``, which messages call ``file``.
    """
    size = path.stat().st_size
    if unpacked > max(_ALWAYS, _MOST * size):
        raise CommandError(
            f"{file}: expands from {size} bytes to {unpacked}, more than {_MOST} times its size; "
            "write it again without compression if it is what it should be"
        )
