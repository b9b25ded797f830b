"""Files that are written beside their target and renamed, so that no target is ever half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bridge.errors import ConversionError


@contextmanager
def replacing(target: Path) -> Iterator[Any]:
    """A binary file that takes the place of ``target`` when the block ends without an exception.

    Raises:
        ConversionError: when ``target`` cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise _unwritable(target, error) from None
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _mode(target))
        os.replace(name, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise _unwritable(target, error) from None
        raise


def _mode(target: Path) -> int:
    """The permissions of the file that is replaced, or those that a new file gets; mkstemp's own are private."""
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _unwritable(target: Path, error: OSError) -> ConversionError:
    reason = error.strerror or str(error)
    return ConversionError(f"{target} cannot be written ({reason}); give a path in an existing folder that you may write to")
